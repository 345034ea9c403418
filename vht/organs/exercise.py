"""Dynamic exercise: what working muscles and the will to move do to vessels, nerves and metabolism."""

from __future__ import annotations

from typing import ClassVar

from vht.model import LogNormal, Organ, Scalar, Vars, param, port, state


class DynamicExercise(Organ):
    r"""Dynamic exercise of large muscles, up to some five metabolic equivalents (1 state).

    Oxygen consumption m, in multiples of that at rest, follows the work asked for with one time constant (Whipp and Wasserman
    1972). In proportion to what exceeds rest, working muscles open vessels beside those that the reflexes hold,

    .. math:: R_{ep} = \frac{1}{1/R_{ep,reflex} + g\,(m - 1)},

    and central command raises sympathetic and lowers vagal activity (as in Magosso and Ursino 2002, linear here). The three
    gains are fitted in the body `cardio_respiratory`, so that cardiac output rises by about 6 L for each litre of oxygen
    (Åstrand et al. 1964) and heart rate as Wicks et al. 2011 find, :math:`HR/HR_{rest} = (m + 5)/6`. Beyond five metabolic
    equivalents heart rate there rises too much, since vagal activity is gone and its effect is linear.

    The muscle pump, blood taken from other organs and fatigue are left out.

    Verified in the body `cardio_respiratory` against both regressions.
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = "magosso2002"

    tau: Scalar = param(
        30.0,
        "s",
        "time constant of oxygen consumption",
        bounds=(5.0, 120.0),
        prior=LogNormal(30.0, 0.2),
        source="whipp1972",
    )
    g_muscle: Scalar = param(
        0.38,
        "mL/(s*mmHg)",
        "conductance that muscles add for each metabolic equivalent",
        bounds=(0.0, 1.5),
        prior=LogNormal(0.38, 0.1),
        source="fitted to the cardiac outputs of astrand1964",
    )
    k_sympathetic: Scalar = param(
        2.8,
        "1/s",
        "sympathetic activity that central command adds for each metabolic equivalent",
        bounds=(0.0, 5.0),
        source="fitted to the heart rates of wicks2011",
    )
    k_vagal: Scalar = param(
        0.47,
        "1/s",
        "vagal activity that central command takes away for each metabolic equivalent",
        bounds=(0.0, 5.0),
        source="fitted to the heart rates of wicks2011",
    )

    class State(Vars):
        m: Scalar = state(1.0, "1", "oxygen consumption, in multiples of that at rest")

    class In(Vars):
        work: Scalar = port("1", "metabolic equivalents asked for", default=1.0)
        R_ep: Scalar = port("mmHg*s/mL", "extrasplanchnic resistance that the reflexes hold", default=1.407)

    class Out(Vars):
        metabolism: Scalar = port("1", "oxygen consumption, in multiples of that at rest")
        R_ep: Scalar = port("mmHg*s/mL", "extrasplanchnic resistance with muscles at work")
        sympathetic: Scalar = port("1/s", "sympathetic activity added by central command", kind="flow")
        vagal: Scalar = port("1/s", "vagal activity added by central command; negative", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(m=(u.work - x.m) / self.tau)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        above = x.m - 1.0
        return self.Out(
            metabolism=x.m,
            R_ep=u.R_ep / (1.0 + self.g_muscle * above * u.R_ep),
            sympathetic=self.k_sympathetic * above,
            vagal=-self.k_vagal * above,
        )
