"""Models whose gradients are looked at: glucose after meals, an insulin pump that two thresholds switch, and HIRES."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from benchmarks.stiff_models import Hires
from vht.model import LogNormal, Organ, Scalar, Vars, event, param, port, quantity, state


class MealGlucose(Organ):
    """Bergman's minimal model behind a stomach and an intestine; the pancreas answers to the square of glucose."""

    time: ClassVar[str] = "min"
    k_empty: Scalar = param(0.05, "1/min", "emptying of the stomach", prior=LogNormal(0.05, 0.2))
    k_absorb: Scalar = param(0.03, "1/min", "absorption", prior=LogNormal(0.03, 0.2))
    V: Scalar = param(120.0, "dL", "volume of glucose", prior=LogNormal(120.0, 0.2))
    S_G: Scalar = param(0.02, "1/min", "glucose effectiveness", prior=LogNormal(0.02, 0.2))
    Gb: Scalar = param(90.0, "mg/dL", "basal glucose", prior=LogNormal(90.0, 0.1))
    p2: Scalar = param(0.025, "1/min", "decay of insulin action", prior=LogNormal(0.025, 0.2))
    S_I: Scalar = param(5e-4, "mL/(uU*min)", "insulin sensitivity", prior=LogNormal(5e-4, 0.3))
    n: Scalar = param(0.14, "1/min", "decay of insulin", prior=LogNormal(0.14, 0.2))
    Ib: Scalar = param(10.0, "uU/mL", "basal insulin", prior=LogNormal(10.0, 0.2))

    class State(Vars):
        stomach: Scalar = state(0.0, "mg", "glucose in the stomach")
        intestine: Scalar = state(0.0, "mg", "glucose in the intestine")
        G: Scalar = state(90.0, "mg/dL", "plasma glucose")
        X: Scalar = state(0.0, "1/min", "insulin action")
        I: Scalar = state(10.0, "uU/mL", "plasma insulin")

    class In(Vars):
        meal: Scalar = port("mg/min", "glucose eaten", kind="flow")

    def initial(self) -> State:
        return self.State(G=self.Gb, I=self.Ib)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        emptied, absorbed, share = self.k_empty * x.stomach, self.k_absorb * x.intestine, x.G / self.Gb
        return self.State(
            stomach=u.meal - emptied,
            intestine=emptied - absorbed,
            G=self.S_G * (self.Gb - x.G) - x.X * x.G + absorbed / self.V,
            X=self.p2 * (self.S_I * (x.I - self.Ib) - x.X),
            I=self.n * (self.Ib * share * share - x.I),
        )


class PumpGlucose(Organ):
    """The same without a pancreas: a pump gives insulin from where glucose rises above `high` to where it falls below `low`."""

    time: ClassVar[str] = "min"
    k_empty: Scalar = param(0.05, "1/min", "emptying of the stomach", prior=LogNormal(0.05, 0.1))
    k_absorb: Scalar = param(0.03, "1/min", "absorption", prior=LogNormal(0.03, 0.1))
    V: Scalar = param(120.0, "dL", "volume of glucose", prior=LogNormal(120.0, 0.1))
    S_G: Scalar = param(0.01, "1/min", "glucose effectiveness", prior=LogNormal(0.01, 0.1))
    Gb: Scalar = param(260.0, "mg/dL", "glucose without insulin", prior=LogNormal(260.0, 0.05))
    p2: Scalar = param(0.04, "1/min", "decay of insulin action", prior=LogNormal(0.04, 0.1))
    S_I: Scalar = param(5e-4, "mL/(uU*min)", "insulin sensitivity", prior=LogNormal(5e-4, 0.1))
    n: Scalar = param(0.14, "1/min", "decay of insulin", prior=LogNormal(0.14, 0.1))
    rate: Scalar = param(7.0, "uU/(mL*min)", "insulin given by the pump", prior=LogNormal(7.0, 0.1))
    high: Scalar = param(180.0, "mg/dL", "glucose that starts the pump", prior=LogNormal(180.0, 0.03))
    low: Scalar = param(120.0, "mg/dL", "glucose that stops the pump", prior=LogNormal(120.0, 0.03))

    class State(Vars):
        stomach: Scalar = state(0.0, "mg", "glucose in the stomach")
        intestine: Scalar = state(0.0, "mg", "glucose in the intestine")
        G: Scalar = state(140.0, "mg/dL", "plasma glucose")
        X: Scalar = state(0.0, "1/min", "insulin action")
        I: Scalar = state(0.0, "uU/mL", "plasma insulin")
        pump: Scalar = state(0.0, "1", "whether the pump runs")

    class In(Vars):
        meal: Scalar = port("mg/min", "glucose eaten", kind="flow")

    class Events(Vars):
        above: Scalar = event("mg/dL", "glucose over the upper threshold", direction="rising")
        below: Scalar = event("mg/dL", "glucose over the lower threshold", direction="falling")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        emptied, absorbed = self.k_empty * x.stomach, self.k_absorb * x.intestine
        return self.State(
            stomach=u.meal - emptied,
            intestine=emptied - absorbed,
            G=self.S_G * (self.Gb - x.G) - x.X * x.G + absorbed / self.V,
            X=self.p2 * (self.S_I * x.I - x.X),
            I=self.rate * x.pump - self.n * x.I,
            pump=0.0,
        )

    def crossings(self, t: Scalar, x: State, u: In) -> Events:
        return self.Events(above=x.G - self.high, below=x.G - self.low)

    def after(self, event: str, t: Scalar, x: State, u: In) -> State:
        return dataclasses.replace(x, pump=1.0 if event == "above" else 0.0)


class HiresAtRest(Hires):
    """HIRES, which settles; how much depends on the enzyme that there is, bound or free."""

    class Conserved(Vars):
        enzyme: Scalar = quantity("1", "enzyme, bound and free")

    def conserved(self, x: Any) -> Conserved:
        return self.Conserved(enzyme=x.y7 + x.y8)
