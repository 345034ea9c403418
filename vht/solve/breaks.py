"""Where the rates jump, as where ``jnp.where`` chooses between unlike numbers: what that does to sensitivities.

A direction that moves the time T of a jump by tau adds to a sensitivity what the states gain or lose meanwhile,

    (f_before - f_after) tau,    tau = -(g_x s + g_p) / (g_t + g_x f_before),

where g is what passes zero at T: a saltation (I. A. Hiskens, M. A. Pai, Trajectory sensitivity analysis of hybrid systems, IEEE
Trans. Circuits Syst. I 47 (2000) 204-220). The derivative of the rates knows nothing of it: on either side it is that of one
branch. Both rates are taken so close to the jump, one on each side, that where branches meet without one nothing is added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from vht.solve.crossings import some
from vht.solve.system import Named, Scalar, Switches, System, Values

# of a step: how far apart the two sides may be
RESOLUTION = 1e-6


def differ(first: Switches, second: Switches) -> Bool[Array, ""]:
    """Whether any of several decisions is another."""
    found = jnp.array(False)
    for a, b in zip(first, second, strict=True):
        found = found | (a != b)
    return found


def first_change(
    outcomes: Callable[[Scalar], Switches], was: Switches, end: Scalar, now: Switches, resolution: Scalar
) -> tuple[Scalar, Scalar, Switches]:
    """Fractions of a step between which the first decision becomes another, and all decisions at the second, by bisection.

    Args:
        outcomes: the decisions at a fraction of the step.
        was: those at its beginning.
        end: the fraction that counts.
        now: the decisions there.
        resolution: width of the bracket that will do.
    """

    def narrow(carry: tuple[Scalar, Scalar, Switches]) -> tuple[Scalar, Scalar, Switches]:
        low, high, now = carry
        middle = 0.5 * (low + high)
        there = outcomes(middle)
        past = differ(was, there)
        kept = tuple(jnp.where(past, new, old) for new, old in zip(there, now, strict=True))
        return jnp.where(past, low, middle), jnp.where(past, middle, high), kept

    return lax.while_loop(lambda c: c[1] - c[0] > resolution, narrow, (0.0 * end, end, now))


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
    flipped: Sequence[Bool[Array, ""]]
    jump: Values
    speeds: Values

    @classmethod
    def of(
        cls, system: System, p: Named, before: Side, after: Side, slopes: Named, flipped: Sequence[Bool[Array, ""]]
    ) -> Break:
        """From both sides of it.

        Args:
            system: the model.
            p: parameters.
            before: the one side.
            after: the other.
            slopes: of the inputs.
            flipped: see the class.
        """
        t, x, u = before
        f_before, f_after = system.rates(t, p, x, u), system.rates(after.t, p, after.x, after.u)
        moving = {port: u[port] for port in slopes}
        dots = (jnp.ones_like(t), f_before, dict(slopes))
        speeds = jax.jvp(lambda t, x, moving: system.breaks(t, p, x, {**u, **moving})[1], (t, x, moving), dots)[1]
        return cls(system, p, before, flipped, tuple(a - b for a, b in zip(f_before, f_after, strict=True)), speeds)

    def behind(self, s: Values, own: Named, du: Named) -> Values:
        """A direction's sensitivities behind it.

        Args:
            s: before it.
            own: how the direction moves parameters.
            du: how it moves inputs.
        """
        t, x, u = self.before

        def levels(x: Values, own: Named, driven: Named) -> Values:
            return self.system.breaks(t, {**self.p, **own}, x, {**u, **driven})[1]

        places = x, {name: self.p[name] for name in own}, {port: u[port] for port in du}
        moved = self._first(jax.jvp(levels, places, (s, dict(own), dict(du)))[1])
        speed = self._first(self.speeds)
        still = (moved == 0.0) | (speed == 0.0) | ~some(self.flipped)
        tau = jnp.where(still, jnp.zeros_like(speed), -moved / jnp.where(still, jnp.ones_like(speed), speed))
        return tuple(si + ji * tau for si, ji in zip(s, self.jump, strict=True))

    def _first(self, values: Values) -> Scalar:
        """The value of the first decision that became another."""
        found = values[-1]
        for here, value in reversed(list(zip(self.flipped, values, strict=True))):
            found = jnp.where(here, value, found)
        return found


def can_break(system: System, t: Any, p: Any, x: Any, u: Any) -> bool:
    """Whether a model's rates can jump, as far as its equations tell."""
    return bool(jax.eval_shape(system.breaks, t, p, x, u)[0])
