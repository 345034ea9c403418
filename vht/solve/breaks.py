"""Where the rates jump, as where ``jnp.where`` chooses between unlike numbers: what that does to sensitivities.

A direction that moves the time T of a jump by tau adds to a sensitivity what the states gain or lose meanwhile,

    (f_before - f_after) tau,    tau = -(g_x s + g_p) / (g_t + g_x f_before),

where g is what passes zero at T: a saltation (I. A. Hiskens, M. A. Pai, Trajectory sensitivity analysis of hybrid systems, IEEE
Trans. Circuits Syst. I 47 (2000) 204-220). The derivative of the rates knows nothing of it: on either side it is that of one
branch. Both rates are taken so close to the jump, one on each side, that where branches meet without one nothing is added.

Where several decisions flip at once, as those of two equal organs do, each has a tau of its own. The jump is then gone through
one decision after another: what the rates gain by each is multiplied by its tau. Where that hangs on which of them is first, as
in a product of two, there is no derivative, and what comes out is that of the order in which the equations have them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from vht.solve.crossings import Levels, first_and_rest, first_of, moved, some, speeds
from vht.solve.system import Named, Scalar, Switches, System, Truths, Values

# of a step: how far apart the two sides may be
RESOLUTION = 1e-6


def changed(first: Switches, second: Switches) -> Truths:
    """Which of several decisions are others; two that are no numbers are one."""
    return tuple((a != b) & ((a == a) | (b == b)) for a, b in zip(first, second, strict=True))


def first_change(
    outcomes: Callable[[Scalar], Switches], was: Switches, end: Scalar, resolution: Scalar
) -> tuple[Scalar, Scalar]:
    """Fractions of a step between which the first decision becomes another, by bisection; the second is `end` if none does.

    Args:
        outcomes: the decisions at a fraction of the step.
        was: those at its beginning.
        end: the fraction up to which the step counts.
        resolution: width of the bracket that will do.
    """

    def narrow(carry: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = carry
        middle = 0.5 * (low + high)
        past = some(changed(was, outcomes(middle)))
        return jnp.where(past, low, middle), jnp.where(past, middle, high)

    begin = jnp.where(some(changed(was, outcomes(end))), jnp.zeros_like(end), end)
    return lax.while_loop(lambda carry: carry[1] - carry[0] > resolution, narrow, (begin, end))


class Side(NamedTuple):
    """A place next to a jump.

    Attributes:
        t: time, in the dtype of the states.
        x: states.
        u: inputs.
    """

    t: Scalar
    x: Values
    u: Named


class Moved(NamedTuple):
    """What a direction moves.

    Attributes:
        s: states, by its sensitivities.
        own: parameters.
        du: inputs.
    """

    s: Values
    own: Named
    du: Named


class _Turn(NamedTuple):
    """Some way through a jump.

    Attributes:
        begun: whether the decisions held are known to flip of themselves.
        held: those that are still as before.
        f: rates with these.
        s: by direction, sensitivities.
    """

    begun: Bool[Array, ""]
    held: Truths
    f: Values
    s: tuple[Values, ...]


class Break(NamedTuple):
    """A jump of the rates.

    Attributes:
        system: the model.
        p: parameters.
        before: the place before it.
        after: the place behind it.
        was: what the rates decide before it.
        flipped: by decision, whether it became another.
        f_before: time derivatives of all states before it.
        f_after: those behind it.
        speeds: how fast what the decisions hang on changes before.
    """

    system: System
    p: Named
    before: Side
    after: Side
    was: Switches
    flipped: Truths
    f_before: Values
    f_after: Values
    speeds: Values

    @classmethod
    def of(
        cls,
        system: System,
        p: Named,
        before: Side,
        after: Side,
        slopes: Named,
        was: Switches,
        flipped: Truths,
        f_before: Values,
        f_after: Values,
    ) -> Break:
        """From both sides of it: `slopes` are those of the inputs, for the others see the class."""
        levels = _levels(system)
        found = speeds(levels, before.t, p, before.x, before.u, slopes, f_before)
        if any(system.algebraic):
            flipped = _soonest(flipped, levels(before.t, p, before.x, before.u), found)
        return cls(system, p, before, after, was, flipped, f_before, f_after, found)

    def behind(self, directions: Sequence[Moved]) -> list[Values]:
        """The sensitivities of several directions behind it."""
        shifts = [self._shifts(direction) for direction in directions]
        at = _Turn(jnp.array(False), self.flipped, self.f_before, tuple(direction.s for direction in directions))
        if len(self.flipped) > 1 and not any(self.system.algebraic):
            at = lax.while_loop(lambda at: some(first_and_rest(at.held)[1]), lambda at: self._turn(at, shifts), at)
        return list(self._added(at, self.f_after, shifts))

    def tau(self, direction: Moved) -> Scalar:
        """How far a direction moves its time, by the first decision that flipped."""
        return self._tau(self.flipped, self._shifts(direction))

    def _shifts(self, direction: Moved) -> Values:
        """How far a direction moves what the decisions hang on."""
        t, x, u = self.before
        return moved(_levels(self.system), t, self.p, x, u, *direction)

    def _tau(self, held: Truths, shifts: Values) -> Scalar:
        """How far a direction moves the time of the first of some decisions."""
        tau = -first_of(held, shifts) / first_of(held, self.speeds)
        # what does not move at all, or nothing that changed: no time is gained or lost
        return jnp.where(some(held) & (abs(tau) < jnp.inf), tau, jnp.zeros_like(tau))

    def _added(self, at: _Turn, f: Values, shifts: Sequence[Values]) -> tuple[Values, ...]:
        """Sensitivities with the part of the first decision that is held: behind it the rates are `f`."""
        jump, rows = [a - b for a, b in zip(at.f, f, strict=True)], []
        for s, shift in zip(at.s, shifts, strict=True):
            tau = self._tau(at.held, shift)
            rows.append(tuple(si + ji * tau for si, ji in zip(s, jump, strict=True)))
        return tuple(rows)

    def _turn(self, at: _Turn, shifts: Sequence[Values]) -> _Turn:
        """Let go of one decision; at first, of all that only follow from others.

        With all of them held, those that flip do so of themselves, as does the first. What follows, as a comparison of a
        remainder that starts anew, has no time of its own: what it hangs on jumps.
        """
        _, rest = first_and_rest(at.held)
        keep = tuple(jnp.where(at.begun, left, here) for left, here in zip(rest, at.held, strict=True))
        f, outcomes = self.system.held(self.after.t, self.p, self.after.x, self.after.u, self.was, keep)
        # one branch may have no value behind the jump: then its part goes with the next decision
        f = tuple(jnp.where(at.begun & (abs(new) < jnp.inf), new, old) for new, old in zip(f, at.f, strict=True))
        own = zip(keep, rest, changed(self.was, outcomes), strict=True)
        held = tuple(here & (at.begun | flips | ~left) for here, left, flips in own)
        return _Turn(jnp.array(True), held, f, self._added(at, f, shifts))


def _soonest(flipped: Truths, levels: Values, speeds: Values) -> Truths:
    """Of the decisions that flipped those that had to: an algebraic variable that jumps with the rates flips others at once."""
    away = [abs(level / speed) for level, speed in zip(levels, speeds, strict=True)]
    away = [jnp.where(flip & (time < jnp.inf), time, jnp.inf) for flip, time in zip(flipped, away, strict=True)]
    least = functools.reduce(jnp.minimum, away)
    return tuple(flip & (time <= least) for flip, time in zip(flipped, away, strict=True))


def _levels(system: System) -> Levels:
    """What the decisions hang on."""
    return lambda t, p, x, u: system.breaks(t, p, x, u)[1]


def can_break(system: System, t: Any, p: Any, x: Any, u: Any) -> bool:
    """Whether a model's rates can jump, as far as its equations tell."""
    return bool(jax.eval_shape(system.breaks, t, p, x, u)[0])
