"""Small models, each with one thing that solvers stumble over, beside those of the library."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from benchmarks.bodies_models import trial
from benchmarks.stiff_models import Robertson, VanDerPol
from vht.library import catalogue
from vht.model import Organ, Scalar, Vars, algebraic, constant, event, gate, param, port, state


class BouncingBall(Organ):
    """A ball that loses a share of its speed at the floor: infinitely many bounces in a finite time."""

    time: ClassVar[str] = "1"
    g: Scalar = param(9.81, "1", "gravity", bounds=(1.0, 20.0))
    e: Scalar = param(0.8, "1", "share of the speed that is left", bounds=(0.0, 1.0))

    class State(Vars):
        h: Scalar = state(1.0, "1", "height")
        v: Scalar = state(0.0, "1", "velocity")

    class Events(Vars):
        floor: Scalar = event("1", "the floor is reached", direction="falling")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(h=x.v, v=-self.g)

    def crossings(self, t: Scalar, x: State, u: Any) -> Events:
        return self.Events(floor=x.h)

    def after(self, event: str, t: Scalar, x: State, u: Any) -> State:
        return dataclasses.replace(x, v=-self.e * x.v)


class Hysteresis(Organ):
    """A controller with two thresholds, which a twin may have the wrong way round; a drug comes from outside."""

    time: ClassVar[str] = "1"
    k: Scalar = param(1.0, "1", "loss", bounds=(0.1, 10.0))
    a: Scalar = param(1.5, "1", "gain while on", bounds=(0.2, 10.0))
    low: Scalar = param(0.5, "1", "switches on below", bounds=(0.0, 1.0))
    high: Scalar = param(1.0, "1", "switches off above", bounds=(0.5, 2.0))

    class State(Vars):
        x: Scalar = state(0.2, "1", "level")
        on: Scalar = state(1.0, "1", "mode")

    class In(Vars):
        dose: Scalar = port("1", "what is given", kind="flow")

    class Events(Vars):
        warm: Scalar = event("1", "too much", direction="rising")
        cold: Scalar = event("1", "too little", direction="falling")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(x=self.a * x.on - self.k * x.x + u.dose, on=0.0 * x.on)

    def crossings(self, t: Scalar, x: State, u: In) -> Events:
        return self.Events(warm=x.x - self.high, cold=x.x - self.low)

    def after(self, event: str, t: Scalar, x: State, u: In) -> State:
        return dataclasses.replace(x, on=0.0 * x.on + (0.0 if event == "warm" else 1.0))


class Chatter(Organ):
    """One threshold without hysteresis, as an event and as a jump of the rates, both pushing back."""

    time: ClassVar[str] = "1"
    a: Scalar = param(2.0, "1", "push", bounds=(0.5, 10.0))
    level: Scalar = param(1.0, "1", "threshold", bounds=(0.1, 5.0))

    class State(Vars):
        x: Scalar = state(0.2, "1", "switched by an event")
        up: Scalar = state(1.0, "1", "mode")
        y: Scalar = state(0.2, "1", "switched by the rates")

    class Events(Vars):
        crossing: Scalar = event("1", "the threshold is crossed")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(
            x=self.a * x.up - x.x, up=0.0 * x.up, y=jnp.where(x.y > self.level, -self.a, self.a) + jnp.sin(t) * x.y
        )

    def crossings(self, t: Scalar, x: State, u: Any) -> Events:
        return self.Events(crossing=x.x - self.level)

    def after(self, event: str, t: Scalar, x: State, u: Any) -> State:
        return dataclasses.replace(x, up=-x.up)


class Multiplier(Organ):
    """An event whose reset makes the next one come sooner and moves its own threshold past the state."""

    time: ClassVar[str] = "1"
    r: Scalar = param(1.0, "1", "growth", bounds=(0.1, 5.0))
    jump: Scalar = param(0.3, "1", "what an event adds, as a share", bounds=(0.0, 2.0))

    class State(Vars):
        x: Scalar = state(0.5, "1", "level")
        bar: Scalar = state(1.0, "1", "threshold")

    class In(Vars):
        dose: Scalar = port("1", "what is given", kind="flow")

    class Events(Vars):
        reached: Scalar = event("1", "the threshold is reached", direction="rising")
        other: Scalar = event("1", "its half is reached")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(x=self.r * x.x + u.dose, bar=0.0 * x.bar)

    def crossings(self, t: Scalar, x: State, u: In) -> Events:
        return self.Events(reached=x.x - x.bar, other=x.x - 0.5 * x.bar)

    def after(self, event: str, t: Scalar, x: State, u: In) -> State:
        if event == "other":
            return dataclasses.replace(x, x=x.x * (1.0 - self.jump))
        return dataclasses.replace(x, x=x.x * (1.0 + self.jump), bar=x.bar * (1.0 + 0.5 * self.jump))


class Junction(Organ):
    """Two algebraic variables, of which a twin may have none, several or undetermined ones."""

    time: ClassVar[str] = "1"
    k: Scalar = param(0.7, "1", "conductance", bounds=(0.1, 5.0))
    a: Scalar = param(1.0, "1", "stiffening", bounds=(0.1, 10.0))
    b: Scalar = param(1.0, "1", "slope at zero", bounds=(0.1, 10.0))

    class State(Vars):
        x: Scalar = state(2.0, "1", "amount")
        z: Scalar = algebraic(0.3, "1", "pressure")
        q: Scalar = algebraic(0.0, "1", "flow")

    class In(Vars):
        dose: Scalar = port("1", "what is given", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(x=u.dose - x.q, z=x.q - self.k * x.z, q=self.a * x.z**3 + self.b * x.z - x.x)


class Valve(Organ):
    """An algebraic pressure, with a valve that opens and shuts by events."""

    time: ClassVar[str] = "1"
    R: Scalar = param(1.0, "1", "resistance", bounds=(0.1, 10.0))
    C: Scalar = param(1.0, "1", "compliance", bounds=(0.1, 10.0))
    w: Scalar = param(6.0, "1", "angular frequency", bounds=(0.5, 20.0))

    class State(Vars):
        v: Scalar = state(1.0, "1", "volume")
        open: Scalar = state(0.0, "1", "mode")
        p: Scalar = algebraic(1.0, "1", "pressure")

    class Events(Vars):
        opens: Scalar = event("1", "pressure from outside exceeds that inside", direction="rising")
        shuts: Scalar = event("1", "and falls below it", direction="falling")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        flow = x.open * (self._outside(t) - x.p) / self.R - x.p / (10.0 * self.R)
        return self.State(v=flow, open=0.0 * x.open, p=x.v - self.C * x.p)

    def _outside(self, t: Scalar) -> Scalar:
        return 2.0 + jnp.sin(self.w * t)

    def crossings(self, t: Scalar, x: State, u: Any) -> Events:
        return self.Events(opens=self._outside(t) - x.p, shuts=self._outside(t) - x.p)

    def after(self, event: str, t: Scalar, x: State, u: Any) -> State:
        return dataclasses.replace(x, open=0.0 * x.open + (1.0 if event == "opens" else 0.0))


class BlowUp(Organ):
    """A solution that ends in a finite time, a root of what may become negative, and a power."""

    time: ClassVar[str] = "1"
    r: Scalar = param(0.5, "1", "growth", bounds=(0.0, 2.0))
    k: Scalar = param(0.2, "1", "loss through a root", bounds=(0.0, 2.0))
    n: Scalar = param(2.0, "1", "power", bounds=(1.0, 3.0))

    class State(Vars):
        x: Scalar = state(0.5, "1", "grows")
        y: Scalar = state(1.0, "1", "runs empty")

    class In(Vars):
        dose: Scalar = port("1", "what is given", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(x=self.r * x.x**self.n + u.dose, y=-self.k * jnp.sqrt(x.y))


class Division(Organ):
    """Divides by what is zero for some parameters, at some times, and follows a signal."""

    time: ClassVar[str] = "1"
    a: Scalar = param(2.0, "1", "offset", bounds=(1.1, 5.0))
    b: Scalar = param(1.0, "1", "subtracted", bounds=(0.0, 1.0))
    s: Scalar = param(9.0, "1", "time of a pole", bounds=(5.0, 20.0))

    class State(Vars):
        x: Scalar = state(1.0, "1", "level")

    class In(Vars):
        drive: Scalar = port("1", "measured")

    class Out(Vars):
        share: Scalar = port("1", "of the drive")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(x=u.drive / (self.a - self.b) - x.x / (self.s - t))

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        return self.Out(share=x.x / (1.0 + u.drive * u.drive))


class Gated(Organ):
    """A gate whose time constant may be zero, infinite or negative, beside a potential."""

    time: ClassVar[str] = "ms"
    tau: Scalar = param(0.01, "ms", "time constant", bounds=(1e-4, 1.0))
    slope: Scalar = param(5.0, "1", "steepness", bounds=(1.0, 10.0))
    g: Scalar = param(3.0, "1/ms", "conductance", bounds=(0.1, 10.0))

    class State(Vars):
        V: Scalar = state(-1.0, "1", "potential")
        m: Scalar = state(0.1, "1", "gate")

    class In(Vars):
        stimulus: Scalar = port("1/ms", "current", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        steady = 1.0 / (1.0 + jnp.exp(-self.slope * x.V))
        tau = self.tau * (0.1 + jnp.exp(-x.V * x.V))
        leak = (1.0 + x.V) / constant(1.0, "ms")
        return self.State(V=self.g * x.m * (1.0 - x.V) + u.stimulus - leak, m=gate(x.m, steady, tau))


@dataclass(frozen=True)
class Subject:
    """A model to be hostile to.

    Attributes:
        model: its class.
        span: a time over which it does something, in its own unit.
        period: parameter or time after which it may repeat itself.
        input: size of what enters.
    """

    model: type[Organ]
    span: float
    period: float | str = 1.0
    input: float = 1.0


SUBJECTS: dict[str, Subject] = {
    "bouncing ball": Subject(BouncingBall, 3.0),
    "hysteresis": Subject(Hysteresis, 10.0),
    "chatter": Subject(Chatter, 3.0),
    "multiplier": Subject(Multiplier, 3.0),
    "junction": Subject(Junction, 3.0),
    "valve": Subject(Valve, 5.0, period=6.283185307179586 / 6.0),
    "blow-up": Subject(BlowUp, 3.0),
    "division": Subject(Division, 4.0),
    "gated": Subject(Gated, 5.0),
    "van der Pol": Subject(VanDerPol, 100.0),
    "Robertson": Subject(Robertson, 1e3),
}
# span, period and size of inputs of the library's models
_LIBRARY: dict[str, tuple[float, float | str, float]] = {
    "circulation": (1.7, "T_HB", 1.0),
    "minimal_glucose": (180.0, 60.0, 20.0),
    "noble": (500.0, 500.0, -20.0),
    "ohara_rudy": (20.0, 1000.0, -20.0),
    "oral_drug": (24.0, 12.0, 100.0),
    "ten_tusscher": (20.0, 1000.0, -20.0),
}


def subjects() -> dict[str, Subject]:
    """All models by name: the library's, then those above."""
    library = {}
    for name, model in catalogue().items():
        # a new model too, for a part of what it does where its speed is measured
        span = trial(name, model()).span / 10.0
        library[name] = Subject(model, *_LIBRARY.get(name, (span, span, 1.0)))
    return library | SUBJECTS
