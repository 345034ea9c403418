"""What first_result.py runs in a process of its own: prints its seconds as JSON. Arguments: model, number of twins."""

import json
import sys
import time

begin = time.perf_counter()

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from vht import Organ, Tsit5, Twins, simulate  # noqa: E402
from vht.model import Scalar, Vars, param, port, state  # noqa: E402

imported = time.perf_counter()


class LeftHeart(Organ):
    """A left ventricle between a venous reservoir and a three-element windkessel."""

    period: Scalar = param(0.8, "s", "heart period")
    systole: Scalar = param(0.4, "1", "share of the period in which the ventricle is active")
    Emax: Scalar = param(2.5, "mmHg/mL", "largest elastance")
    Emin: Scalar = param(0.08, "mmHg/mL", "smallest elastance")
    V0: Scalar = param(5.0, "mL", "rest volume")
    Rm: Scalar = param(0.01, "mmHg*s/mL", "resistance of the open mitral valve")
    Zc: Scalar = param(0.04, "mmHg*s/mL", "characteristic resistance of the aorta")
    R: Scalar = param(1.0, "mmHg*s/mL", "peripheral resistance")
    C: Scalar = param(1.3, "mL/mmHg", "arterial compliance")
    Cv: Scalar = param(15.0, "mL/mmHg", "venous compliance")

    class State(Vars):
        V: Scalar = state(120.0, "mL", "volume of the ventricle")
        p: Scalar = state(80.0, "mmHg", "arterial pressure")
        pv: Scalar = state(10.0, "mmHg", "venous pressure")

    class Out(Vars):
        P: Scalar = port("mmHg", "pressure of the ventricle")

    def outputs(self, t, x, u):
        beats = t / self.period
        phase = (beats - jnp.floor(beats)) / self.systole
        active = jnp.where(phase < 1.0, 0.5 - 0.5 * jnp.cos(6.283185307179586 * phase), 0.0)
        return self.Out(P=(self.Emin + (self.Emax - self.Emin) * active) * (x.V - self.V0))

    def rates(self, t, x, u):
        P = self.outputs(t, x, u).P
        inflow = jnp.maximum(x.pv - P, 0.0) / self.Rm
        outflow = jnp.maximum(P - x.p, 0.0) / self.Zc
        runoff = (x.p - x.pv) / self.R
        return self.State(V=inflow - outflow, p=(outflow - runoff) / self.C, pv=(runoff - inflow) / self.Cv)


if sys.argv[1] == "circulation":
    from vht.organs.circulation import Circulation

    model: Organ = Circulation()
    twins = Twins.sample(model, int(sys.argv[2]), seed=0)
else:
    model = LeftHeart()
    twins = Twins.sample(model, int(sys.argv[2]), seed=0, only=("Emax", "R", "C"), spread=0.2)
built = time.perf_counter()
times, method = np.linspace(0.0, 10.0, 101), Tsit5(rtol=1e-4, atol=1e-4)
first = simulate(model, times, twins=twins, method=method)
ok = int(np.asarray(first.ok).sum())
solved = time.perf_counter()
again = simulate(model, times, twins=twins, method=method)
ended = time.perf_counter()
print(
    json.dumps(
        {
            "import": imported - begin,
            "build": built - imported,
            "first": solved - built,
            "second": ended - solved,
            "ok": ok,
            "backend": first.settings.backend,
        }
    )
)
