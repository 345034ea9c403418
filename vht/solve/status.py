"""How each twin's solve ended, and what its user can do about it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any


class Status(enum.IntEnum):
    """The end of one twin's solve; the code is what results hold, `label` and `message` are for people."""

    OK = 0
    MAX_STEPS = 1
    STEP_TOO_SMALL = 2
    NON_FINITE = 3
    SINGULAR = 4
    NO_INITIAL_VALUE = 5
    EVENT_STORM = 6

    @property
    def label(self) -> str:
        """The name used in tables: ``ok``, ``max_steps``, ``step_too_small``, ``non_finite``, ``singular``, ..."""
        return self.name.lower()

    @property
    def message(self) -> str:
        """What happened and what to try."""
        return _MESSAGES[self]


NOT_SAVED = (
    "It, or one of its derivatives, became NaN or infinite while the states were finite: look at this twin's parameters, "
    "initial state and schedule for impossible values, or leave it out of `observe`."
)
"""Says more of `Status.NON_FINITE` where an observed quantity, which goes before it, was not finite at a save."""

_MESSAGES = {
    Status.OK: "The solve reached the last time.",
    Status.MAX_STEPS: (
        "The budget of steps was spent before the last time: try a larger `max_steps`, a looser `rtol`, or, if the model is "
        "stiff and this was another method, `method=Rodas5P(...)`."
    ),
    Status.STEP_TOO_SMALL: (
        "The error test asked for steps below the resolution of time: try a looser `rtol` and a larger `atol`, "
        'dtype="float64" if this was a float32 solve, or parameters that make the system less stiff.'
    ),
    Status.NON_FINITE: (
        "The states, their rates or their sensitivities became NaN or infinite and smaller steps did not help: look at "
        "this twin's parameters, initial state and schedule for impossible values, or give an `atol` above 0 if it was 0 and a "
        "state may be 0."
    ),
    Status.SINGULAR: (
        "The linear equations of an implicit step had no solution, with smaller steps neither: look for parameters that "
        "make two equations the same or leave an algebraic variable undetermined; for a steady or periodic state, declare "
        "what the model conserves."
    ),
    Status.NO_INITIAL_VALUE: (
        "No values of the algebraic variables were found that satisfy their equations at the start or after an event: "
        "look at this twin's parameters and initial state, or give initial guesses nearer to a solution."
    ),
    Status.EVENT_STORM: (
        "Events of the state followed one another without time going on: let an event's reset move the state away from "
        "its threshold, or use two thresholds some distance apart (hysteresis)."
    ),
}


def flag_attributes(statuses: Iterable[Any]) -> dict[str, Any]:
    """What a dataset's variable of codes says of them, by the CF conventions.

    Args:
        statuses: the enumeration; its members have a `label`.
    """
    return {"flag_values": [int(s) for s in statuses], "flag_meanings": " ".join(s.label for s in statuses)}
