"""The cardiopulmonary reflex: what filling of the heart does to sympathetic activity."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Normal, Organ, Scalar, Vars, param, port, state

_FITTED = "fitted to tilt and bleeding in the body `cardio_respiratory`; this library"


class CardiopulmonaryReflex(Organ):
    r"""Receptors of low pressure in heart and lungs: as filling falls, sympathetic activity rises (1 state).

    Unloading them, by so little blood moved to the legs that arterial pressure and its rate stay as they are, constricts
    resistance vessels (Zoller et al. 1972). What they sense is the pressure that stretches the atrium, p: central venous less
    intrathoracic pressure, so that filling falls where a ventilator raises both. So has it the model of Heldt et al. 2002, as
    a public copy of its program reads, and a like form: an effect in proportion to the deviation of that pressure, which
    saturates (there as an arctangent, here as a hyperbolic tangent). Here the effect is sympathetic activity, which
    `Baroreflex` adds to its own:

    .. math:: \tau\,\tilde p' = p - \tilde p, \qquad f = f_{max} \tanh\frac{g\,(p_0 - \tilde p)}{f_{max}}

    with :math:`p_0` that at rest, `p_rest` less `P_it_rest`. Gain, limit and time constant are this library's: Heldt's gains
    are of resistances and venous volumes, by impulse responses of tens of seconds, which lie in `Baroreflex` here. Heart rate
    and contractility follow sympathetic activity there too; in Heldt's model this reflex does not reach the heart, and Zoller
    et al. saw no change of heart rate at small stimuli.
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = "zoller1972"

    p_rest: Scalar = param(
        4.77,
        "mmHg",
        "central venous pressure at which nothing is added",
        bounds=(-5.0, 20.0),
        prior=Normal(4.77, 0.5),
        source="rest of the body `cardio_respiratory`",
    )
    P_it_rest: Scalar = param(
        -4.0,
        "mmHg",
        "intrathoracic pressure at which nothing is added",
        bounds=(-15.0, 5.0),
        source="heldt2002: -4 mmHg at the end of expiration",
    )
    gain: Scalar = param(
        0.8,
        "1/(s*mmHg)",
        "sympathetic activity added for each mmHg less",
        bounds=(0.0, 5.0),
        prior=LogNormal(0.8, 0.2),
        source=_FITTED,
    )
    f_max: Scalar = param(3.0, "1/s", "largest activity added or taken away", bounds=(0.1, 20.0), source=_FITTED)
    tau: Scalar = param(
        3.0, "s", "time constant of the receptors and their path", bounds=(0.1, 60.0), source="of the order of a breath"
    )

    class State(Vars):
        p: Scalar = state(8.77, "mmHg", "central venous less intrathoracic pressure as the reflex has it")

    class In(Vars):
        CVP: Scalar = port("mmHg", "central venous pressure", default=4.77)
        P_it: Scalar = port("mmHg", "intrathoracic pressure", default=-4.0)

    class Out(Vars):
        sympathetic: Scalar = port("1/s", "sympathetic activity added", kind="flow")

    def initial(self) -> State:
        return self.State(p=self.p_rest - self.P_it_rest)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(p=(u.CVP - u.P_it - x.p) / self.tau)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        missing = self.p_rest - self.P_it_rest - x.p
        return self.Out(sympathetic=self.f_max * jnp.tanh(self.gain * missing / self.f_max))
