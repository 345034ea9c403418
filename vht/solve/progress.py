"""How far the solve of one twin has come."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Int

from vht.solve import controller
from vht.solve.crossings import Truths
from vht.solve.propagate import Point, Tables
from vht.solve.system import Scalar, Switches, Values
from vht.solve.twin import Inputs


class Saved(NamedTuple):
    """What has been saved.

    Attributes:
        index: number of the next save, int32.
        next: its time, float64; +inf after the last one.
        tables: what is saved up to it.
        culprit: number of what is observed and was not finite at the next save, int32; -1 if nothing was yet.
    """

    index: Int[Array, ""]
    next: Scalar
    tables: Tables
    culprit: Int[Array, ""]


class Progress(NamedTuple):
    """What the next step needs.

    Attributes:
        t: time, float64.
        h: size of the next step, float64.
        log_error: what the controller remembers.
        point: states and sensitivities.
        memo: what the method can use of the step before.
        switches: what tells the smooth pieces of the rates apart.
        fresh: a smooth stretch begins here ...
        jumped: ... with a jump, not only a kink, before it.
        inputs: between the last event of the schedule and the next.
        event: number of the schedule's next event, int32.
        event_time: its time, float64; +inf after the last one.
        levels: values of the events of the state, from which crossings count.
        back: which of them have just turned back at zero.
        fired: events of the state that happen now ...
        located: ... where their values cross zero, not because of a jump.
        counts: how often each has happened, int32.
        crossing: time of the last event of the state, float64.
        storm: events of the state that followed the one before at once, int32.
        saved: see there.
        steps: tried, int32.
        rejected: those of them that were not accepted, int32.
        status: a `Status` code, int32.
    """

    t: Scalar
    h: Scalar
    log_error: controller.Log
    point: Point
    memo: Any
    switches: Switches
    fresh: Bool[Array, ""]
    jumped: Bool[Array, ""]
    inputs: Inputs
    event: Int[Array, ""]
    event_time: Scalar
    levels: Values
    back: Truths
    fired: Truths
    located: Bool[Array, ""]
    counts: tuple[Int[Array, ""], ...]
    crossing: Scalar
    storm: Int[Array, ""]
    saved: Saved
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    status: Int[Array, ""]
