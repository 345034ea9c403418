"""What the loop asks of a method: how it holds a twin's states and sensitivities, and moves them over one step.

Three methods answer: `explicit.Explicit`, `exponential.Exponential` and `stiff.Stiff`. What they hold is theirs (a *point*);
the loop only hands it back.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int

from vht.solve.breaks import Side
from vht.solve.controller import Gains
from vht.solve.crossings import Jumps, Truths
from vht.solve.sensitivity import Gaps
from vht.solve.system import Scalar, Switches, Values
from vht.solve.twin import Inputs

# states beyond this share of the largest number count as infinite: interpolation would run into it
MODERATE = 1e-4

Tables = Any
Point = Any


class Span(NamedTuple):
    """One step to try.

    Attributes:
        begin: time, float64.
        end: time, float64; exact where the step lands on a stop.
        taken: their difference, float64.
    """

    begin: Scalar
    end: Scalar
    taken: Scalar

    def at(self, fraction: float) -> Scalar:
        """Time at a fraction of the step."""
        return self.end if fraction == 1.0 else self.begin if fraction == 0.0 else self.begin + fraction * self.taken


@dataclasses.dataclass
class Step:
    """What became of one step.

    Attributes:
        square: mean square of the estimated error over the tolerance, the largest of states and directions.
        end: states at the end.
        memo: what the next step can use of it.
        seen: the switches at each stage, the first one's among them.
        regular: false where the step's linear equations had no solution.
        inner: the method's own.
    """

    square: Scalar
    end: Values
    memo: Any
    seen: list[Switches]
    regular: Bool[Array, ""]
    inner: Any


class Tried(NamedTuple):
    """A step with what it began from.

    Attributes:
        span: its times.
        point: its beginning.
        inputs: during it.
        step: what became of it.
    """

    span: Span
    point: Point
    inputs: Inputs
    step: Step


class Written(NamedTuple):
    """Tables after a save.

    Attributes:
        tables: with NaN in all of them at this save unless everything observed is finite, or may have gaps.
        culprit: number of the first that is not, or has a derivative that is not; -1 if there is none, or gaps are allowed.
    """

    tables: Tables
    culprit: Int[Array, ""]


@runtime_checkable
class Propagator(Protocol):
    """How a method holds and moves one twin."""

    order: int
    underestimate: float
    gains: Gains

    def initial(self, inputs: Inputs) -> Point:
        """What there is at the start."""
        ...

    def states(self, point: Point) -> Values:
        """The states of a point."""
        ...

    def finite(self, point: Point) -> Bool[Array, ""]:
        """Whether states and sensitivities are finite."""
        ...

    def culprit(self, point: Point) -> Int[Array, ""]:
        """Number of the algebraic variable for which no value was found, -1 if there is none."""
        ...

    def torn(self, span: Span, step: Step, point: Point, inputs: Inputs) -> Bool[Array, ""]:
        """Whether algebraic variables jump within a step, so that what is found inside it follows neither side."""
        ...

    def settled(self, t: Scalar, x: Values, point: Point, inputs: Inputs, along: bool) -> Point:
        """With states near `x` of which the algebraic ones satisfy the equations; `along`: sensitivities as well."""
        ...

    def empty_memo(self, point: Point) -> Any:
        """Of the type of `Step.memo`."""
        ...

    def begin(self, t: Scalar, point: Point, inputs: Inputs) -> Any:
        """The memo where a smooth stretch begins."""
        ...

    def first_step(self, t: Scalar, point: Point, memo: Any, inputs: Inputs, stop: Scalar, h: Scalar) -> Scalar:
        """The size of the first step after a jump, at most `h` unless that is 0."""
        ...

    def attempt(self, span: Span, point: Point, memo: Any, inputs: Inputs, switches: Switches) -> Step:
        """Try a step."""
        ...

    def inside(self, step: Step, point: Point, theta: Scalar) -> Values:
        """The states at a fraction of a step."""
        ...

    def accept(self, accepted: Bool[Array, ""], step: Step, point: Point) -> Point:
        """The end of the step if it was accepted, else its beginning."""
        ...

    def land(self, step: Step, point: Point, theta: Scalar) -> Point:
        """Everything at a fraction of a step."""
        ...

    def tables(self) -> Tables:
        """Tables for what is saved, full of NaN."""
        ...

    def save(self, tables: Tables, index: Int[Array, ""], t: Scalar, point: Point, inputs: Inputs) -> Written:
        """Write what is observed at a point."""
        ...

    def save_inside(
        self,
        tables: Tables,
        index: Int[Array, ""],
        t: Scalar,
        step: Step,
        point: Point,
        theta: Scalar,
        inputs: Inputs,
    ) -> Written:
        """Write what is observed at a fraction of a step."""
        ...

    def scheduled(
        self, event: Int[Array, ""], t: Scalar, point: Point, inputs: Inputs, caused: Bool[Array, ""]
    ) -> tuple[Point, Inputs]:
        """Pass an event of the schedule: the inputs' new lines, and the jump of states and sensitivities.

        Args:
            event: its number.
            t: its time.
            point: before it.
            inputs: before it.
            caused: an earlier one of the same time has made an event of the state happen, whose time is that one's.
        """
        ...

    def broken(self, before: Side, was: Switches, flipped: Truths, t: Scalar, point: Point, inputs: Inputs) -> Point:
        """Everything behind a jump of the rates at a time.

        Args:
            before: the place before it.
            was: what the rates decide before it.
            flipped: by decision, whether it became another.
            t: time behind it.
            point: the end of the step across it.
            inputs: on both sides.
        """
        ...

    def happened(self, jumps: Jumps, t: Scalar, point: Point, inputs: Inputs) -> tuple[Point, Values]:
        """Everything after events of the state, and how fast the events' values change then."""
        ...

    def solved(self, tables: Tables) -> tuple[Any, Any, Any]:
        """Values, tangents and time rates as `Solved` holds them."""
        ...


def choose(condition: Bool[Array, ""], yes: Values, no: Values) -> Values:
    """One of two tuples of scalars."""
    return tuple(jnp.where(condition, a, b) for a, b in zip(yes, no, strict=True))


def all_finite(values: Values) -> Bool[Array, ""]:
    """Whether every scalar is finite."""
    finite = jnp.array(True)
    for v in values:
        finite = lax.bitwise_and(finite, lax.lt(lax.abs(v), np.asarray(np.inf, v.dtype)))
    return finite


def first_not_finite(values: Values, *derivatives: Values, gaps: Gaps) -> Int[Array, ""]:
    """The first place at which values or derivatives are not finite where they must be; -1 if there is none."""
    none = jnp.full((), -1, np.int32)
    if gaps == "all":
        return none
    rows = (values, *derivatives) if gaps == "none" else (values,)

    def search() -> Int[Array, ""]:
        found = none
        for place, column in reversed(list(enumerate(zip(*rows, strict=True)))):
            found = jnp.where(all_finite(column), found, np.int32(place))
        return found

    # the sum is finite only if all are, which they nearly always are
    total = functools.reduce(operator.add, itertools.chain(*rows))
    return lax.cond(abs(total) < jnp.inf, lambda: none, search)


def scales(atol: Scalar, rtol: Scalar, before: Values, after: Values | None = None) -> Values:
    """The tolerated error of each entry; 0 where none is, and never so large that it has no reciprocal."""
    atol = jnp.minimum(atol, MODERATE * float(jnp.finfo(atol.dtype).max))
    sizes = tuple(abs(v) for v in before)
    if after is not None:
        # NaN at the end stays; a maximum that sees to it on both sides is four times as long on a GPU
        sizes = tuple(jnp.where(v >= abs(w), v, abs(w)) for v, w in zip(sizes, after, strict=True))
    return tuple(atol + rtol * size for size in sizes)
