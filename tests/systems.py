"""Small systems whose states are known in closed form. The formulas are JAX: their derivatives are the reference gradients."""

import jax.numpy as jnp

from vht.model import Organ, Scalar, Vars, param, port, state
from vht.solve import Doses, Schedule, Signal


class Decay(Organ):
    """``x' = -k x``."""

    k: Scalar = param(0.5, "1/h", "rate of decay")
    time = "h"

    class State(Vars):
        x: Scalar = state(3.0, "mg", "what decays")

    class Out(Vars):
        twice: Scalar = port("mg", "twice as much")

    def rates(self, t, x, u):
        return self.State(x=-self.k * x.x)

    def outputs(self, t, x, u):
        return self.Out(twice=2.0 * x.x)


def decay(t, k, x0=3.0, start=0.0):
    return x0 * jnp.exp(-k * (t - start))


class Oscillator(Organ):
    """``x'' = -w^2 x``, with the velocity measured in units of w."""

    w: Scalar = param(2.0, "1/s", "angular frequency")
    time = "s"

    class State(Vars):
        x: Scalar = state(1.0, "1", "position")
        v: Scalar = state(0.0, "1", "velocity over w")

    class Out(Vars):
        energy: Scalar = port("1", "twice the energy over w squared")

    def rates(self, t, x, u):
        return self.State(x=self.w * x.v, v=-self.w * x.x)

    def outputs(self, t, x, u):
        return self.Out(energy=x.x * x.x + x.v * x.v)


def oscillator(t, w, x0=1.0, v0=0.0, start=0.0):
    phase = w * (t - start)
    return x0 * jnp.cos(phase) + v0 * jnp.sin(phase)


class Tide(Organ):
    """``x' = a cos(w t)``: time itself drives the state."""

    a: Scalar = param(1.0, "m/s", "amplitude of the rate")
    w: Scalar = param(1.0, "1/s", "angular frequency")
    time = "s"

    class State(Vars):
        x: Scalar = state(0.0, "m", "level")

    def rates(self, t, x, u):
        return self.State(x=self.a * jnp.cos(self.w * t))


def tide(t, a, w, start=0.0):
    return a / w * (jnp.sin(w * t) - jnp.sin(w * start))


class Oral(Organ):
    """A drug absorbed from the gut after a lag; the initial central amount may depend on a parameter."""

    ka: Scalar = param(1.5, "1/h", "absorption rate")
    ke: Scalar = param(0.2, "1/h", "elimination rate")
    F: Scalar = param(0.8, "1", "bioavailability")
    lag: Scalar = param(0.3, "h", "lag time")
    base: Scalar = param(2.0, "mg", "central amount at the start")
    time = "h"

    class State(Vars):
        gut: Scalar = state(0.0, "mg", "amount in the gut")
        central: Scalar = state(0.0, "mg", "amount in the body")

    class In(Vars):
        dose: Scalar = port("mg/h", "what is swallowed", kind="flow", lag="lag")
        drip: Scalar = port("mg/h", "what is injected", kind="flow")

    class Out(Vars):
        uptake: Scalar = port("mg/h", "what is absorbed")

    def initial(self):
        return self.State(gut=0.0 * self.base, central=self.base)

    def rates(self, t, x, u):
        uptake = self.ka * x.gut
        return self.State(gut=self.F * u.dose - uptake, central=u.drip + uptake - self.ke * x.central)

    def outputs(self, t, x, u):
        return self.Out(uptake=self.ka * x.gut)


def oral_central(t, p, schedule, start=0.0):
    """Central amount of `Oral` by superposition; `p` by name, one twin's schedule."""
    ka, ke, F = p["ka"], p["ke"], p["F"]
    total = p["base"] * jnp.exp(-ke * (t - start))

    def bolus(s):
        s = jnp.maximum(s, 0.0)
        return F * ka / (ka - ke) * (jnp.exp(-ke * s) - jnp.exp(-ka * s))

    def infusion(s):
        s = jnp.maximum(s, 0.0)
        return F * ka / (ka - ke) * ((1.0 - jnp.exp(-ke * s)) / ke - (1.0 - jnp.exp(-ka * s)) / ka)

    def drip(s):
        return (1.0 - jnp.exp(-ke * jnp.maximum(s, 0.0))) / ke

    for port_name, lag, at_once, steady in (
        ("dose", p["lag"], bolus, infusion),
        ("drip", 0.0, lambda s: jnp.where(s > 0.0, jnp.exp(-ke * s), 0.0), drip),
    ):
        doses = schedule.doses.get(port_name)
        if doses is None:
            continue
        for i in range(jnp.shape(doses.time)[0]):
            s = t - (doses.time[i] + lag)
            length = 0.0 if doses.duration is None else doses.duration[i]
            given = doses.amount[i]
            total = total + (given / length * (steady(s) - steady(s - length)) if length > 0.0 else given * at_once(s))
    return total


def oral_schedule():
    """Boluses and infusions into both ports, overlapping."""
    return Schedule(
        doses={
            "dose": Doses(jnp.array([0.5, 3.0, 4.0]), jnp.array([100.0, 60.0, 40.0]), jnp.array([0.0, 2.0, 3.0])),
            "drip": Doses(jnp.array([1.0, 6.0]), jnp.array([20.0, 35.0]), jnp.array([0.0, 1.5])),
        }
    )


class Filter(Organ):
    """``x' = (u - x) / tau``: follows a measured input."""

    tau: Scalar = param(2.0, "min", "time constant")
    time = "min"

    class State(Vars):
        x: Scalar = state(1.0, "mmHg", "filtered input")

    class In(Vars):
        u: Scalar = port("mmHg", "measured input")

    class Out(Vars):
        gap: Scalar = port("mmHg", "how far the state is behind")

    def rates(self, t, x, u):
        return self.State(x=(u.u - x.x) / self.tau)

    def outputs(self, t, x, u):
        return self.Out(gap=u.u - x.x)


def filtered(t, tau, knots, values, interpolation, x0=1.0, start=0.0):
    """State of `Filter`, piece by piece; `knots` sorted."""
    total = x0 * jnp.exp(-(t - start) / tau)
    n = jnp.shape(knots)[0]
    for i in range(-1, n):
        begin = start if i < 0 else knots[i]
        end = knots[i + 1] if i + 1 < n else jnp.inf
        level = values[max(i, 0)]
        slope = 0.0
        if interpolation == "linear" and 0 <= i < n - 1 and knots[i + 1] > knots[i]:
            slope = (values[i + 1] - values[i]) / (knots[i + 1] - knots[i])
        a, b = jnp.clip(begin, start, jnp.maximum(t, start)), jnp.clip(end, start, jnp.maximum(t, start))

        def piece(r, begin=begin, level=level, slope=slope):
            return (level + slope * (r - begin) - slope * tau) * jnp.exp(-(t - r) / tau)

        total = total + jnp.where(b > a, piece(b) - piece(a), 0.0)
    return total


def filter_schedule(interpolation):
    return Schedule(
        signals={"u": Signal(jnp.array([0.5, 2.0, 5.0, 5.5, 8.0]), jnp.array([2.0, 6.0, 3.0, 9.0, 4.0]), interpolation)}
    )


class Gated(Organ):
    """``x' = gate dose - k x``: how much of a dose arrives hangs on another input."""

    k: Scalar = param(0.5, "1/h", "elimination rate")
    time = "h"

    class State(Vars):
        x: Scalar = state(0.0, "mg", "amount in the body")

    class In(Vars):
        dose: Scalar = port("mg/h", "what is swallowed", kind="flow")
        gate: Scalar = port("1", "share that is taken up")

    def rates(self, t, x, u):
        return self.State(x=u.gate * u.dose - self.k * x.x)


class Burst(Organ):
    """``x' = a x^2``: infinite at ``1 / (a x0)``."""

    a: Scalar = param(1.0, "1/(s*m)", "growth")
    time = "s"

    class State(Vars):
        x: Scalar = state(1.0, "m", "what bursts")

    def rates(self, t, x, u):
        return self.State(x=self.a * x.x * x.x)


class VanDerPol(Organ):
    """Van der Pol's oscillator; stiff for large `mu`."""

    mu: Scalar = param(5.0, "1", "damping")
    rate: Scalar = param(1.0, "1/s", "unit of time")
    time = "s"

    class State(Vars):
        x: Scalar = state(2.0, "1", "position")
        y: Scalar = state(0.0, "1", "velocity")

    def rates(self, t, x, u):
        return self.State(x=self.rate * x.y, y=self.rate * (self.mu * (1.0 - x.x * x.x) * x.y - x.x))
