"""Models whose curves are known in closed form, for calibration without a solver.

Derivatives come from the complex step, which is exact to rounding and owes nothing to the package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vht.calibrate import Measurements, Observable, Problem
from vht.calibrate.fit import Predict, Predicted
from vht.model import Organ, Scalar, Vars, param, port, state

Curve = Callable[..., np.ndarray]


class Oral(Organ):
    """One compartment with first-order absorption of 320 mg at time 0."""

    time = "h"
    ka: Scalar = param(1.0, "1/h", "absorption rate", bounds=(0.0, 20.0))
    CL: Scalar = param(2.0, "L/h", "clearance", bounds=(0.0, 100.0))
    V: Scalar = param(30.0, "L", "volume", bounds=(0.0, 1000.0))

    class State(Vars):
        gut: Scalar = state(320.0, "mg", "amount in the gut")
        central: Scalar = state(0.0, "mg", "amount in the body")

    class Out(Vars):
        concentration: Scalar = port("mg/L", "plasma concentration")
        amount: Scalar = port("mg", "amount in the body")

    def rates(self, t, x, u):
        absorbed = self.ka * x.gut
        return self.State(gut=-absorbed, central=absorbed - self.CL / self.V * x.central)

    def outputs(self, t, x, u):
        return self.Out(concentration=x.central / self.V, amount=x.central)


def oral(ka, CL, V, t, dose=320.0):
    """Concentration after an oral dose."""
    ke = CL / V
    return dose / V * ka / (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t))


def oral_amount(ka, CL, V, t):
    """Amount in the body after an oral dose."""
    return V * oral(ka, CL, V, t)


class Line(Organ):
    """A straight line, with one parameter that does nothing."""

    slope: Scalar = param(1.0, "1/s", "slope")
    offset: Scalar = param(1.0, "1", "value at time 0")
    unused: Scalar = param(1.0, "1", "without effect", bounds=(0.0, 10.0))

    class State(Vars):
        y: Scalar = state(0.0, "1", "value")

    def rates(self, t, x, u):
        return self.State(y=self.slope)


def line(slope, offset, unused, t):
    """A straight line."""
    return offset + slope * t + 0.0 * unused


class Wave(Organ):
    """A sine wave of unknown frequency: a likelihood with many local optima."""

    frequency: Scalar = param(1.0, "1/s", "angular frequency", bounds=(0.0, 20.0))
    height: Scalar = param(1.0, "1", "amplitude", bounds=(0.0, 10.0))

    class State(Vars):
        y: Scalar = state(0.0, "1", "value")

    def rates(self, t, x, u):
        return self.State(y=self.frequency * self.height)


def wave(frequency, height, t):
    """A sine wave."""
    return height * np.sin(frequency * t)


def closed_form(problem: Problem, *curves: Curve, constants: dict[int, np.ndarray] | None = None) -> Predict:
    """The predictor of a problem from one curve an observable.

    Args:
        problem: with the curves' arguments as free parameters.
        curves: ``curve(*parameters, t)`` for each observable.
        constants: arguments that are not free, by their position, one value a twin.
    """
    layout, free = problem.layout, len(problem.free)

    def predict(natural: np.ndarray, twin: np.ndarray) -> Predicted:
        lane = np.arange(twin.size)[:, None]
        t, which = layout.times[twin][lane, layout.save[twin]], layout.observable[twin]
        arguments = [natural[:, k, None] for k in range(free)]
        for position, values in sorted((constants or {}).items()):
            arguments.insert(position, values[twin][:, None])
        own = [i for i in range(len(arguments)) if i not in (constants or {})]

        def measured(arguments: Sequence[np.ndarray]) -> np.ndarray:
            return np.choose(which, [np.broadcast_to(curve(*arguments, t), t.shape) for curve in curves])

        with np.errstate(all="ignore"):
            value = measured(arguments)
            slopes = []
            for position in own:
                moved = list(arguments)
                moved[position] = moved[position] + 1e-30j
                slopes.append(measured(moved).imag / 1e-30)
        jacobian = np.stack(slopes, axis=-1)
        return Predicted(value, jacobian, np.isfinite(value).all(axis=1) & np.isfinite(jacobian).all(axis=(1, 2)))

    return predict


def measured_problem(model, free, curve, truth, times, noise, sd, *, seed=0, own_sd=None, **more) -> Problem:
    """A problem with one observable, measured with normal errors.

    Args:
        model: organ model.
        free: the free parameters.
        curve: closed form.
        truth: parameters, ``[twins, parameters]``.
        times: ``[twins, rows]``.
        noise: the noise model given to the problem.
        sd: ``sd(f)``, the true standard deviation at a predicted value.
        seed: of the errors.
        own_sd: standard deviations of the measurements themselves, or None.
        more: further arguments of the problem.
    """
    twins, rows = times.shape
    f = curve(*(truth[:, k, None] for k in range(truth.shape[1])), times)
    value = f + sd(f) * np.random.default_rng(seed).normal(size=f.shape)
    output = "concentration" if model is Oral else "y"
    table = Measurements(
        twin=np.repeat(np.arange(twins), rows),
        time=times.ravel(),
        observable=["y"] * value.size,
        value=value.ravel(),
        sd=own_sd,
    )
    return Problem(model(), free, {"y": Observable(output, noise)}, table, **more)
