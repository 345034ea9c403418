"""The cardiopulmonary reflex: what filling of the heart does to sympathetic activity."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Normal, Organ, Scalar, Vars, param, port, state

_FITTED = "fitted to tilt and bleeding in the body `cardio_respiratory`; this library"


class CardiopulmonaryReflex(Organ):
    r"""Receptors of low pressure in heart and lungs: as filling falls, sympathetic activity rises (1 state).

    Unloading them, by so little blood moved to the legs that arterial pressure and its rate stay as they are, constricts
    resistance vessels (Zoller et al. 1972, Johnson et al. 1974). The form is that of Heldt et al. 2002, an effect in
    proportion to the deviation of right atrial pressure that saturates; here the effect is sympathetic activity, which
    `Baroreflex` adds to its own:

    .. math:: \tau\,\tilde p' = p - \tilde p, \qquad f = f_{max} \tanh\frac{g\,(p_0 - \tilde p)}{f_{max}}

    Heart rate follows sympathetic activity there too, which the two papers did not see at small stimuli.
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
        p: Scalar = state(4.77, "mmHg", "central venous pressure as the reflex has it")

    class In(Vars):
        CVP: Scalar = port("mmHg", "central venous pressure", default=4.77)

    class Out(Vars):
        sympathetic: Scalar = port("1/s", "sympathetic activity added", kind="flow")

    def initial(self) -> State:
        return self.State(p=self.p_rest)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(p=(u.CVP - x.p) / self.tau)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        return self.Out(sympathetic=self.f_max * jnp.tanh(self.gain * (self.p_rest - x.p) / self.f_max))
