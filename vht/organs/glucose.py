"""Glucose and insulin."""

from __future__ import annotations

from typing import ClassVar

from vht.model import LogNormal, Organ, Scalar, Vars, param, port, state

_NEAR = "near the fit to the subject of Pacini and Bergman 1986"


class MinimalGlucose(Organ):
    r"""Minimal model of glucose disappearance after an intravenous glucose load (Bergman et al. 1979).

    .. math::
        G' = -(S_G + X)\,G + S_G\,G_b, \qquad X' = -p_2 X + p_2 S_I (I(t) - I_b), \qquad G(0) = G_0, \; X(0) = 0

    The measured insulin `I` is an input. `S_G` is glucose effectiveness, by which glucose restores itself at basal insulin;
    `S_I` is insulin sensitivity; `X`, insulin action, is insulin's effect in a space remote from plasma. Pacini and Bergman
    (1986) write :math:`p_1 = S_G` and :math:`p_3 = p_2 S_I`. `G0` is what plasma would hold if the load had mixed at once,
    so that measurements are compared from 8 minutes on. Defaults and priors lie near the fit to their subject, whose basal
    glucose is normal; in type 2 diabetes `S_I` is about ten times smaller.

    Verified against SciPy's solution of the same equations (1e-7), and against its least squares on the data of Pacini and
    Bergman with the first sample as basal values (92 mg/dL, 11 uU/mL), glucose from 8 min on: S_G 0.01888 1/min,
    p2 0.02142 1/min, S_I 8.071e-4 mL/(uU min), G0 261.2 mg/dL, root mean square error 3.62 mg/dL.
    """

    time: ClassVar[str] = "min"
    citation: ClassVar[str] = "bergman1979"

    S_G: Scalar = param(
        0.02,
        "1/min",
        "glucose effectiveness at basal insulin",
        bounds=(1e-4, 0.2),
        prior=LogNormal(0.02, 0.5),
        source=_NEAR,
    )
    p2: Scalar = param(
        0.02,
        "1/min",
        "rate at which insulin action decays",
        bounds=(1e-4, 0.5),
        prior=LogNormal(0.02, 0.7),
        source=_NEAR,
    )
    S_I: Scalar = param(
        7e-4, "mL/(uU*min)", "insulin sensitivity", bounds=(1e-6, 0.02), prior=LogNormal(7e-4, 0.7), source=_NEAR
    )
    G0: Scalar = param(
        280.0,
        "mg/dL",
        "glucose at time 0, if the load had mixed at once",
        bounds=(50.0, 800.0),
        prior=LogNormal(280.0, 0.3),
        source=_NEAR,
    )
    Gb: Scalar = param(92.0, "mg/dL", "basal glucose", bounds=(40.0, 300.0), source="pacini1986")
    Ib: Scalar = param(11.0, "uU/mL", "basal insulin", bounds=(0.0, 200.0), source="pacini1986")

    class State(Vars):
        G: Scalar = state(280.0, "mg/dL", "plasma glucose")
        X: Scalar = state(0.0, "1/min", "insulin action: rate at which insulin removes glucose")

    class In(Vars):
        insulin: Scalar = port("uU/mL", "plasma insulin")

    class Out(Vars):
        glucose: Scalar = port("mg/dL", "plasma glucose")

    def initial(self) -> State:
        return self.State(G=self.G0, X=0.0)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(
            G=self.S_G * self.Gb - (self.S_G + x.X) * x.G,
            X=self.p2 * (self.S_I * (u.insulin - self.Ib) - x.X),
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        return self.Out(glucose=x.G)
