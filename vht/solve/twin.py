"""What the solve of one twin is given and gives, and the inputs between two events."""

from __future__ import annotations

from typing import Any, NamedTuple

from jax import lax
from jaxtyping import Array, Float, Int

from vht.solve.schedule import Events
from vht.solve.sensitivity import Line
from vht.solve.system import Named, Scalar


class Twin(NamedTuple):
    """What the solve of one twin is given. Numbers of the model are in its dtype, times in float64.

    Attributes:
        parameters: by name.
        initial: states whose initial value is given, by name.
        start: time of the initial state.
        times: of the saves, a table, nondecreasing from `start` on.
        saves: how many entries of `times` count, int32.
        end: the last of them.
        events: the schedule, None without one.
        moved: how the directions move the events: by direction `EventTangents`, None if it does not; or those of all
            directions one after another in one table, None if none does.
        sizes: by direction, the size of what is differentiated with respect to: scalars, or one table.
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_steps: budget of steps, int32.
        step: the fixed step, or a bound of the first step; 0 for none.
        longest: bound of every step; +inf for none.
    """

    parameters: Named
    initial: Named
    start: Scalar
    times: Float[Array, " saves"]
    saves: Int[Array, ""]
    end: Scalar
    events: Events | None
    moved: Any
    sizes: Any
    rtol: Scalar
    atol: Scalar
    max_steps: Int[Array, ""]
    step: Scalar
    longest: Scalar

    def cast(self, value: Scalar) -> Scalar:
        """A number in the dtype of the model's."""
        return lax.convert_element_type(value, self.rtol.dtype)


class Solved(NamedTuple):
    """What the solve of one twin gives.

    Attributes:
        values: by observed name, a table; NaN from a failure on.
        tangents: the same of the values' derivatives, by direction; or by observed name tables of all directions, one
            after another.
        time_rates: the same of the values' derivatives with respect to the time of the save; empty if not asked for.
        status: a `Status` code, int32.
        steps: tried, int32.
        rejected: those of them that were not accepted, int32.
        culprit: number of the algebraic variable for which no value was found, or the number of states and that of the
            observed quantity that was not finite at a save, int32; -1 where there is none.
        events: how often each event of the state happened, int32.
    """

    values: tuple[Float[Array, " saves"], ...]
    tangents: tuple[Any, ...]
    time_rates: tuple[Float[Array, " saves"], ...]
    status: Int[Array, ""]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    culprit: Int[Array, ""]
    events: tuple[Int[Array, ""], ...]


class Inputs(NamedTuple):
    """The inputs between two events.

    Attributes:
        line: by port, straight over time.
        since: time of the last event.
    """

    line: Line
    since: Scalar

    def at(self, t: Scalar) -> dict[str, Scalar]:
        """By port, at a time."""
        return self.line.at(self.elapsed(t))

    def elapsed(self, t: Scalar) -> Scalar:
        """Time since the last event, in the dtype of the inputs."""
        like = next(iter(self.line.values.values()), None)
        return t - self.since if like is None else (t - self.since).astype(like.dtype)
