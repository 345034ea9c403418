"""Where the rates jump, as where ``jnp.where`` chooses between unlike numbers: what that does to sensitivities.

A direction that moves the time T of a jump by tau adds to a sensitivity what the states gain or lose meanwhile,

    (f_before - f_after) tau,    tau = -(g_x s + g_p) / (g_t + g_x f_before),

where g is what passes zero at T: a saltation (I. A. Hiskens, M. A. Pai, Trajectory sensitivity analysis of hybrid systems, IEEE
Trans. Circuits Syst. I 47 (2000) 204-220). The derivative of the rates knows nothing of it: on either side it is that of one
branch. Both rates are taken so close to the jump, one on each side, that where branches meet without one nothing is added.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from vht.solve.crossings import Levels, Truths, first_of, moved, some, speeds
from vht.solve.system import Named, Scalar, Switches, System, Values

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


class Break(NamedTuple):
    """A jump of the rates.

    Attributes:
        system: the model.
        p: parameters.
        before: the place before it.
        flipped: by decision, whether it became another.
        jump: rates before less rates after.
        speeds: how fast what the decisions hang on changes before.
    """

    system: System
    p: Named
    before: Side
    flipped: Truths
    jump: Values
    speeds: Values

    @classmethod
    def of(
        cls, system: System, p: Named, before: Side, slopes: Named, flipped: Truths, f_before: Values, f_after: Values
    ) -> Break:
        """From both sides of it.

        Args:
            system: the model.
            p: parameters.
            before: the place before it.
            slopes: of the inputs.
            flipped: see the class.
            f_before: time derivatives of all states before it.
            f_after: those after it.
        """
        levels = _levels(system)
        found = speeds(levels, before.t, p, before.x, before.u, slopes, f_before)
        if any(system.algebraic):
            flipped = _soonest(flipped, levels(before.t, p, before.x, before.u), found)
        return cls(system, p, before, flipped, tuple(a - b for a, b in zip(f_before, f_after, strict=True)), found)

    def behind(self, s: Values, own: Named, du: Named) -> Values:
        """A direction's sensitivities behind it.

        Args:
            s: before it.
            own: how the direction moves parameters.
            du: how it moves inputs.
        """
        tau = self.tau(s, own, du)
        return tuple(si + ji * tau for si, ji in zip(s, self.jump, strict=True))

    def tau(self, s: Values, own: Named, du: Named) -> Scalar:
        """How far a direction moves its time; arguments as of `behind`."""
        t, x, u = self.before
        shift = first_of(self.flipped, moved(_levels(self.system), t, self.p, x, u, s, own, du))
        tau = -shift / first_of(self.flipped, self.speeds)
        # what does not move at all, or nothing that changed: no time is gained or lost
        return jnp.where(some(self.flipped) & (abs(tau) < jnp.inf), tau, jnp.zeros_like(tau))


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
