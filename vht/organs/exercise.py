"""Dynamic exercise: what working muscles and the will to move do to vessels, nerves and metabolism."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state


class DynamicExercise(Organ):
    r"""Dynamic exercise of large muscles, up to some five metabolic equivalents (1 state).

    Oxygen consumption m, in multiples of that at rest, follows the work asked for with one time constant (Whipp and Wasserman
    1972). In proportion to what exceeds rest, working muscles open vessels beside those that the reflexes hold,

    .. math:: R_{ep} = \frac{1}{1/R_{ep,reflex} + g\,\max(m - 1, 0)},

    and central command raises sympathetic and lowers vagal activity (as in Magosso and Ursino 2002, linear here). Below rest
    only consumption falls. Equations and values are this library's.

    The three gains are fitted in the body `cardio_respiratory`, so that cardiac output rises by about 6 L for each litre of
    oxygen (Åstrand et al. 1964, whose regression was not at hand; the figure is from memory) and heart rate as Wicks et al.
    2011 find, :math:`HR/HR_{rest} = (m + 5)/6`. There, from two to five metabolic equivalents, output rises by 5.7 to 6.0 L for
    a litre consumed, arterial pressure by 5 to 6 mmHg; heart rate is 1.14 times that at rest at two, 1.53 at four. At five it
    is 7 % too high and at eight 31 %, since nerves act on the period of the heart, not on its rate.

    The muscle pump, blood taken from other organs and fatigue are left out. Uptake of oxygen in the lungs lags consumption by
    many minutes, because of the oxygen that muscle holds in `GasExchange`.
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
        above = jnp.maximum(x.m - 1.0, 0.0)
        # resistances are at least what the circulation takes them for
        held = jnp.maximum(u.R_ep, constant(0.01, "mmHg*s/mL"))
        return self.Out(
            metabolism=x.m,
            R_ep=held / (1.0 + self.g_muscle * above * held),
            sympathetic=self.k_sympathetic * above,
            vagal=-self.k_vagal * above,
        )
