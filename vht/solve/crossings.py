"""Events of the state: where in a step the first one lies, and what it does to states and sensitivities.

An event lies where a function g(t, x, u) of the model crosses zero. At an event at time T that takes x to r(x), a
sensitivity s becomes (I. A. Hiskens, M. A. Pai, Trajectory sensitivity analysis of hybrid systems, IEEE Trans. Circuits
Syst. I 47 (2000) 204-220)

    Dr (s + f_before tau) - f_after tau,    tau = -(g_x s + g_p) / (g_t + g_x f_before),

where tau is how far the direction moves T. Where it is a jump that takes g across zero, that of a dose or of another event, T
and tau are the jump's. Of several events that happen to lie at the same time each has a tau of its own.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int

from vht.solve.sensitivity import Augmented, primals_of
from vht.solve.system import Named, Scalar, Truths, Values

# events this many times in a row with less than so many least steps between them: time does not go on
STORM, STORM_STEPS = 50, 64.0
# a value that turned back at zero has this many least steps to show it
TURN_STEPS = 4.0
TURNS = 200
# every so many turns the bracket is halved, whatever the secant says
HALVED = 4
# where a step is looked at besides its ends: a value may cross zero and come back
PROBES = (0.25, 0.5, 0.75)

Levels = Callable[[Scalar, Named, Values, Named], Values]  # of time, parameters, states and inputs


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
    found = jnp.array(False)
    for truth in truths:
        found = found | truth
    return found


def first_and_rest(truths: Truths) -> tuple[Truths, Truths]:
    """Truths of which only the first that holds is left, and those of which it is not."""
    first, rest, before = [], [], jnp.array(False)
    for truth in truths:
        first.append(truth & ~before)
        rest.append(truth & before)
        before = before | truth
    return tuple(first), tuple(rest)


def locate(
    values: Callable[[Scalar], Values],
    directions: Sequence[str],
    before: Values,
    after: Values,
    accepted: Bool[Array, ""],
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
        accepted: whether the step counts; else the fraction is 1 and no event has happened.
        resolution: width of the bracket that will do.
    """
    one = jnp.ones_like(resolution)

    def narrow(b: _Bracket) -> _Bracket:
        width, first = b.high - b.low, b.high
        over = crossed(directions, origin, b.g_high)
        for low, high, here in zip(b.g_low, b.g_high, over, strict=True):
            low, high = b.weight_low * low.astype(width.dtype), b.weight_high * high.astype(width.dtype)
            secant = b.low + width * (low / (low - high))
            first = jnp.where(here & (secant < first), secant, first)
        first = jnp.where(lax.rem(b.turns, np.int32(HALVED)) == np.int32(HALVED - 1), b.low + 0.5 * width, first)
        # a little inside: once an end lies at the crossing, the next turn brings the other one there too
        edge = jnp.minimum(0.5 * resolution, 0.25 * width)
        middle = jnp.clip(first, b.low + edge, b.high - edge)
        g = values(middle)
        past = some(crossed(directions, origin, g))
        return _Bracket(
            low=jnp.where(past, b.low, middle),
            high=jnp.where(past, middle, b.high),
            g_low=tuple(jnp.where(past, old, new) for old, new in zip(b.g_low, g, strict=True)),
            g_high=tuple(jnp.where(past, new, old) for old, new in zip(b.g_high, g, strict=True)),
            weight_low=jnp.where(past, 0.5 * b.weight_low, one),
            weight_high=jnp.where(past, one, 0.5 * b.weight_high),
            turns=b.turns + np.int32(1),
        )

    # the first part of the step at whose end an event has happened
    seen = [(0.0 * one, before), *((at * one, values(at * one)) for at in PROBES), (one, after)]
    low, high, origin, end = one, one, after, after
    for (begin, g_begin), (stop, g_stop) in reversed(list(itertools.pairwise(seen))):
        here = some(crossed(directions, g_begin, g_stop))
        low, high = jnp.where(here, begin, low), jnp.where(here, stop, high)
        origin = tuple(jnp.where(here, new, old) for new, old in zip(g_begin, origin, strict=True))
        end = tuple(jnp.where(here, new, old) for new, old in zip(g_stop, end, strict=True))
    b = _Bracket(low, high, origin, end, one, one, jnp.zeros((), np.int32))
    b = lax.while_loop(lambda b: accepted & (b.high - b.low > resolution) & (b.turns < np.int32(TURNS)), narrow, b)
    fired = tuple(accepted & here for here in crossed(directions, origin, b.g_high))
    return jnp.where(accepted, b.high, one), fired


def first_of(truths: Truths, values: Values) -> Scalar:
    """The value that belongs to the first of several that are true."""
    found = values[-1]
    for here, value in reversed(list(zip(truths, values, strict=True))):
        found = jnp.where(here, value, found)
    return found


def speeds(levels: Levels, t: Scalar, p: Named, x: Values, u: Named, slopes: Named, f: Values) -> Values:
    """How fast values of a place change in time where the states' rates are `f` and the inputs' `slopes`."""
    moving = {port: u[port] for port in slopes}
    dots = (jnp.ones_like(t), f, dict(slopes))
    return jax.jvp(lambda t, x, moving: levels(t, p, x, {**u, **moving}), (t, x, moving), dots)[1]


def moved(levels: Levels, t: Scalar, p: Named, x: Values, u: Named, s: Values, own: Named, du: Named) -> Values:
    """How far a direction moves them, while time stays: it moves states by `s`, parameters by `own`, inputs by `du`."""

    def g(x: Values, own: Named, driven: Named) -> Values:
        return levels(t, {**p, **own}, x, {**u, **driven})

    return jax.jvp(g, (x, primals_of(own, p), primals_of(du, u)), (s, dict(own), dict(du)))[1]


@dataclasses.dataclass(frozen=True)
class Jumps:
    """What the events of one moment do, one after another in the order in which the model declares them.

    Attributes:
        augmented: the model.
        fired: by event, whether it happens.
        located: whether their time is where the first one's value crosses zero; else it is the last jump's. Each of several
            that have a time of their own asks for `Jumps` of its own.
    """

    augmented: Augmented
    fired: Truths
    located: Bool[Array, ""]

    def after(self, t: Scalar, p: Named, x: Values, u: Named) -> Values:
        """The states after the events."""
        for here, after in zip(self.fired, self.augmented.system.after, strict=True):
            x = tuple(jnp.where(here, new, old) for new, old in zip(after(t, p, x, u), x, strict=True))
        return x

    def speeds(self, t: Scalar, p: Named, x: Values, u: Named, slopes: Named, f: Values) -> Values:
        """How fast the events' values change where the states' rates are `f`."""
        return speeds(self.augmented.system.crossings, t, p, x, u, slopes, f)

    def tau(
        self, t: Scalar, p: Named, x: Values, u: Named, speeds: Values, s: Values, own: Named, du: Named, last: Scalar
    ) -> Scalar:
        """How far a direction moves the events' time; arguments as in `tangent`.

        Args:
            speeds: of the events' values before the events.
            last: how far it moves the time of the last jump.
        """
        shift = first_of(self.fired, moved(self.augmented.system.crossings, t, p, x, u, s, own, du))
        # what stays where it is stays there even where the value touches zero only
        tau = jnp.where(shift == 0.0, shift, -shift / first_of(self.fired, speeds))
        return jnp.where(self.located, tau, last)

    def tangent(
        self,
        t: Scalar,
        p: Named,
        x: Values,
        u: Named,
        slopes: Named,
        f_before: Values,
        f_after: Values,
        tau: Scalar,
        s: Values,
        own: Named,
        du: Named,
    ) -> Values:
        """Sensitivities after the events.

        Args:
            t: time of the events.
            p: parameters.
            x: states before them.
            u: inputs.
            slopes: of the inputs.
            f_before: rates before them.
            f_after: rates after them.
            tau: how far the direction moves their time.
            s: sensitivities before them.
            own: how the direction moves parameters.
            du: how it moves inputs.
        """
        s = tuple(si + fi * tau for si, fi in zip(s, f_before, strict=True))
        du = dict(du) | {port: du.get(port, 0.0) + slope * tau for port, slope in slopes.items()}

        def reset(t: Scalar, x: Values, own: Named, driven: Named) -> Values:
            return self.after(t, {**p, **own}, x, {**u, **driven})

        s = jax.jvp(reset, (t, x, primals_of(own, p), primals_of(du, u)), (tau, s, dict(own), du))[1]
        return tuple(si - fi * tau for si, fi in zip(s, f_after, strict=True))


def levels_after(
    fired: Truths, located: Bool[Array, ""], before: Values, after: Values, speeds: Values
) -> tuple[Values, Truths]:
    """The events' values from which the next crossings count, and which of them are on their way back.

    An event is located a little past zero. Where its reset leaves the value there, it must not happen again by going on. Where
    the value turns back, as a ball that bounces, it counts as back already: the way back is no crossing, and the next one
    must not be missed where both lie nearer than can be told apart.

    Args:
        fired: which events happened.
        located: whether they lie where a value crosses zero.
        before: values just before they happened.
        after: values just after.
        speeds: of the values after.
    """
    levels, back = [], []
    for here, old, new, speed in zip(fired, before, after, speeds, strict=True):
        there = here & located & (abs(new - old) <= abs(old))
        turned = there & (old * jnp.sign(speed) < 0.0)
        levels.append(jnp.where(turned, -old, jnp.where(there, old, new)))
        back.append(turned)
    return tuple(levels), tuple(back)
