"""Events of the state: where in a step the first one lies, and what it does to states and sensitivities.

An event lies where a function g(t, x, u) of the model crosses zero. At an event at time T that takes x to r(x), a
sensitivity s becomes (I. A. Hiskens, M. A. Pai, Trajectory sensitivity analysis of hybrid systems, IEEE Trans. Circuits
Syst. I 47 (2000) 204-220)

    Dr (s + f_before tau) - f_after tau,    tau = -(g_x s + g_p) / (g_t + g_x f_before),

where tau is how far the direction moves T.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int

from vht.solve.sensitivity import Augmented
from vht.solve.system import Named, Scalar, Values

# events this many times in a row with less than so many least steps between them: time does not go on
STORM, STORM_STEPS = 50, 64.0
TURNS = 200
# every so many turns the bracket is halved, whatever the secant says
HALVED = 4

Truths = tuple[Bool[Array, ""], ...]


class _Bracket(NamedTuple):
    low: Scalar
    high: Scalar
    g_low: Values
    g_high: Values
    weight_low: Scalar
    weight_high: Scalar
    turns: Int[Array, ""]


def crossed(directions: Sequence[str], before: Values, after: Values) -> Truths:
    """Which values crossed zero the way that counts. One that begins at zero has crossed once it has left it.

    Args:
        directions: "rising", "falling" or "both", by value.
        before: values before.
        after: values after.
    """
    found = []
    for direction, old, new in zip(directions, before, after, strict=True):
        rising, falling = (old <= 0.0) & (new > 0.0), (old >= 0.0) & (new < 0.0)
        found.append({"rising": rising, "falling": falling, "both": rising | falling}[direction])
    return tuple(found)


def some(truths: Truths) -> Bool[Array, ""]:
    """Whether any is true."""
    found = truths[0]
    for truth in truths[1:]:
        found = found | truth
    return found


def locate(
    values: Callable[[Scalar], Values],
    directions: Sequence[str],
    before: Values,
    after: Values,
    wanted: Bool[Array, ""],
    resolution: Scalar,
) -> tuple[Scalar, Truths]:
    """The fraction of a step at which the first event has just happened, and which events have by then.

    The bracket of the first crossing is narrowed by the secant of the event that it says to be first, the end that stays
    weighted down as in the Illinois method (M. Dowell, P. Jarratt, BIT 11 (1971) 168-174), and halved now and then.

    Args:
        values: of a fraction of the step.
        directions: which crossings count, by value.
        before: values at its beginning.
        after: values at its end.
        wanted: whether there is anything to look for; elsewhere the fraction is 1 and no event has happened.
        resolution: width of the bracket that will do.
    """
    one = jnp.ones_like(resolution)

    def narrow(b: _Bracket) -> _Bracket:
        width, first = b.high - b.low, b.high
        over = crossed(directions, before, b.g_high)
        for low, high, here in zip(b.g_low, b.g_high, over, strict=True):
            low, high = b.weight_low * low.astype(width.dtype), b.weight_high * high.astype(width.dtype)
            secant = b.low + width * (low / (low - high))
            first = jnp.where(here & (secant < first), secant, first)
        first = jnp.where(lax.rem(b.turns, np.int32(HALVED)) == np.int32(HALVED - 1), b.low + 0.5 * width, first)
        # a little inside: once an end lies at the crossing, the next turn brings the other one there too
        edge = jnp.minimum(0.5 * resolution, 0.25 * width)
        middle = jnp.clip(first, b.low + edge, b.high - edge)
        g = values(middle)
        past = some(crossed(directions, before, g))
        return _Bracket(
            low=jnp.where(past, b.low, middle),
            high=jnp.where(past, middle, b.high),
            g_low=tuple(jnp.where(past, old, new) for old, new in zip(b.g_low, g, strict=True)),
            g_high=tuple(jnp.where(past, new, old) for old, new in zip(b.g_high, g, strict=True)),
            weight_low=jnp.where(past, 0.5 * b.weight_low, one),
            weight_high=jnp.where(past, one, 0.5 * b.weight_high),
            turns=b.turns + np.int32(1),
        )

    start = _Bracket(0.0 * one, one, before, after, one, one, jnp.zeros((), np.int32))
    b = lax.while_loop(lambda b: wanted & (b.high - b.low > resolution) & (b.turns < np.int32(TURNS)), narrow, start)
    fired = tuple(wanted & here for here in crossed(directions, before, b.g_high))
    return b.high, fired


@dataclasses.dataclass(frozen=True)
class Jump:
    """What one event does.

    Attributes:
        augmented: the model.
        number: of the event.
    """

    augmented: Augmented
    number: int

    def after(self, t: Scalar, p: Named, x: Values, u: Named) -> Values:
        """The states after the event."""
        return self.augmented.system.after[self.number](t, p, x, u)

    def _g(self, t: Scalar, p: Named, x: Values, u: Named) -> Scalar:
        return self.augmented.system.crossings(t, p, x, u)[self.number]

    def speed(self, t: Scalar, p: Named, x: Values, u: Named, slopes: Named, f: Values) -> Scalar:
        """How fast the event's value changes before the event, where the states' rates are `f`."""
        moving = {port: u[port] for port in slopes}
        dots = (jnp.ones_like(t), f, dict(slopes))
        return jax.jvp(lambda t, x, moving: self._g(t, p, x, {**u, **moving}), (t, x, moving), dots)[1]

    def tangent(
        self,
        t: Scalar,
        p: Named,
        x: Values,
        u: Named,
        slopes: Named,
        f_before: Values,
        f_after: Values,
        speed: Scalar,
        s: Values,
        own: Named,
        du: Named,
    ) -> Values:
        """Sensitivities after the event.

        Args:
            t: time of the event.
            p: parameters.
            x: states before it.
            u: inputs.
            slopes: of the inputs.
            f_before: rates before it.
            f_after: rates after it.
            speed: as `speed` gives it.
            s: sensitivities before it.
            own: how the direction moves parameters.
            du: how it moves inputs.
        """

        def at(moved: Named, where: Named) -> Named:
            return {name: where[name] for name in moved}

        def g(x: Values, own: Named, driven: Named) -> Scalar:
            return self._g(t, {**p, **own}, x, {**u, **driven})

        moved = jax.jvp(g, (x, at(own, p), at(du, u)), (s, dict(own), dict(du)))[1]
        tau = -moved / speed
        s = tuple(si + fi * tau for si, fi in zip(s, f_before, strict=True))
        du = dict(du) | {port: du.get(port, 0.0) + slope * tau for port, slope in slopes.items()}

        def reset(t: Scalar, x: Values, own: Named, driven: Named) -> Values:
            return self.after(t, {**p, **own}, x, {**u, **driven})

        s = jax.jvp(reset, (t, x, at(own, p), at(du, u)), (tau, s, dict(own), du))[1]
        return tuple(si - fi * tau for si, fi in zip(s, f_after, strict=True))
