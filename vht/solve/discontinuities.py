"""Steps within which the rates jump: where in a step that is, and what becomes of states and sensitivities there.

Two things ask for more than the error test. Sensitivities change where the rates jump (`breaks`): a step with sensitivities
ends there. And algebraic variables jump with the rates, so that inside a step across the jump they are on neither side of it:
such a step is refused, down to one so short that nothing else moves, which leaps: along the tangent, algebraic variables
settled anew behind it.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool

from vht.solve.breaks import RESOLUTION, Side, changed, first_change
from vht.solve.clock import least_step
from vht.solve.crossings import some
from vht.solve.propagate import Point, Propagator, Tried, choose
from vht.solve.sensitivity import Augmented
from vht.solve.system import Scalar, Switches, Values
from vht.solve.twin import Inputs, Twin

# a state that moves by so many units in its last place hardly does, in so many of the least steps: it may not move at all in
# one of them
STILL_ULPS, STILL_STEPS = 4.0, 1e4
# the squared error of a step in which algebraic variables jump: the next one is a fraction of it
TORN = 64.0


@dataclasses.dataclass(frozen=True)
class Discontinuities:
    """The jumps of one twin's rates.

    Attributes:
        augmented: the model with its directions.
        twin: its numbers.
        method: what holds and moves its states.
        sensitive: whether sensitivities must be looked after where the rates jump.
        algebraic: whether algebraic variables jump with them.
    """

    augmented: Augmented
    twin: Twin
    method: Propagator
    sensitive: bool = False
    algebraic: bool = False

    @property
    def watched(self) -> bool:
        """Whether either is so."""
        return self.sensitive or self.algebraic

    def decided(self, t: Scalar, x: Values, inputs: Inputs) -> Switches:
        """What the rates decide at a place."""
        return self.augmented.system.breaks(self.twin.cast(t), self.twin.parameters, x, inputs.at(t))[0]

    # -------------------------------------------------------------------------------------------- sensitivities

    def first_change(self, tried: Tried, end: Scalar, leaps: Bool[Array, ""]) -> tuple[Scalar, Scalar]:
        """Fractions of a step just before and just after the first change of what the rates decide.

        Args:
            tried: the step.
            end: the fraction up to which it counts.
            leaps: it is crossed as a whole.
        """
        span, point, inputs, step = tried

        def decided(at: Scalar) -> Switches:
            t, x = span.begin + at * span.taken, self.method.inside(step, point, self.twin.cast(at))
            return self.decided(t, x, inputs)

        was = self.decided(span.begin, self.method.states(point), inputs)
        resolution = jnp.maximum(4.0 * np.finfo(np.float64).eps * abs(span.end) / span.taken, RESOLUTION)
        if self.algebraic:
            resolution = jnp.where(leaps, 1.0, resolution)
        return first_change(decided, was, end, resolution)

    def behind(self, tried: Tried, low: Scalar, reached: Scalar, after: Point) -> tuple[Point, Bool[Array, ""]]:
        """Everything behind what the rates decide anew between a fraction of a step and its end, and whether anything is.

        Args:
            tried: the step.
            low: the fraction before the change.
            reached: time after it.
            after: the step's end there.
        """
        span, point, inputs, step = tried
        before, x = self.method.inside(step, point, self.twin.cast(low)), self.method.states(after)
        was = self.decided(span.begin, self.method.states(point), inputs)
        flipped = changed(was, self.decided(reached, x, inputs))
        t = span.begin + low * span.taken
        side = Side(self.twin.cast(t), before, inputs.at(t))
        return self.method.broken(side, was, flipped, reached, after, inputs), some(flipped)

    # -------------------------------------------------------------------------------------- algebraic variables

    def leaps(self, tried: Tried) -> Bool[Array, ""]:
        """Whether a step is so short that it may cross a jump of algebraic variables: the least, or nothing else moves."""
        span, x, algebraic = tried.span, self.method.states(tried.point), self.augmented.system.algebraic
        floor = least_step(span.begin, self.twin.end)
        still, eps = span.taken <= STILL_STEPS * floor, float(jnp.finfo(self.twin.rtol.dtype).eps)
        for old, new, jumps in zip(x, tried.step.end, algebraic, strict=True):
            if not jumps:
                still = still & (abs(new - old) <= STILL_ULPS * eps * abs(old))
        return still | (span.taken <= 2.0 * floor)

    def torn(self, tried: Tried, doubtful: Bool[Array, ""]) -> Bool[Array, ""]:
        """Whether algebraic variables jump within a step; only a doubtful one is looked at."""
        span, point, inputs, step = tried
        return lax.cond(doubtful, lambda: self.method.torn(span, step, point, inputs), lambda: jnp.array(False))

    def settled(self, tried: Tried, leaps: Bool[Array, ""], reached: Scalar, after: Point) -> Point:
        """The end of a step across a jump with algebraic variables as they are behind it.

        Args:
            tried: the step.
            leaps: what its stages found beyond the jump is of no use.
            reached: time of its end.
            after: its end.
        """
        x = choose(leaps, self._tangent(tried), self.method.states(after))
        # a jump sees to the sensitivities by itself
        return self.method.settled(reached, x, after, tried.inputs, along=not self.sensitive)

    def _tangent(self, tried: Tried) -> Values:
        """Where a step along the tangent ends; algebraic variables stay as they were."""
        span, system, x = tried.span, self.augmented.system, self.method.states(tried.point)
        t, h = self.twin.cast(span.begin), self.twin.cast(span.taken)
        f = system.rates(t, self.twin.parameters, x, tried.inputs.at(span.begin))
        rows = zip(x, f, system.algebraic, strict=True)
        return tuple(old if algebraic else old + h * rate for old, rate, algebraic in rows)
