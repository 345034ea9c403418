"""How the calibration of one twin ended, and what a user can do about it."""

from __future__ import annotations

from enum import IntEnum


class CalibrationStatus(IntEnum):
    """The end of one twin's calibration.

    Estimates are numbers for those `WITH_ESTIMATE` alone; under every other status they are NaN.
    """

    OK = 0
    MAX_ITERATIONS = 1
    SOLVE_FAILED = 2
    SINGULAR = 3
    AT_BOUND = 4
    TOO_FEW_MEASUREMENTS = 5
    NO_MEASUREMENTS = 6
    NO_PROGRESS = 7
    ZERO_SD = 8

    @property
    def label(self) -> str:
        """The status as one lower-case word, as tables and files carry it."""
        return self.name.lower()

    @property
    def has_estimate(self) -> bool:
        """Whether a twin that ended so has estimates."""
        return self in WITH_ESTIMATE

    @property
    def message(self) -> str:
        """What happened and what to do."""
        return _MESSAGES[self]


WITH_ESTIMATE = (CalibrationStatus.OK, CalibrationStatus.AT_BOUND)

_MESSAGES = {
    CalibrationStatus.OK: "The estimates minimise the objective.",
    CalibrationStatus.MAX_ITERATIONS: (
        "The optimiser used up its iterations: try a larger `max_iterations`, a better `start`, or more `starts`."
    ),
    CalibrationStatus.SOLVE_FAILED: (
        "The model could not be solved, or gave no finite prediction, at the start values, or one of them is outside its"
        " bounds: check this twin's parameters, doses and inputs, or give another `start`."
    ),
    CalibrationStatus.SINGULAR: (
        "The measurements do not determine every parameter: fix one, give it a prior, or measure more; if they should, give"
        " another `start`, since the search may have begun too far away."
    ),
    CalibrationStatus.AT_BOUND: (
        "The best value lies at a bound, so this parameter has no standard error: widen `bounds`, or fix the parameter."
    ),
    CalibrationStatus.TOO_FEW_MEASUREMENTS: (
        "There are too few measurements for the free parameters and the unknown measurement errors (an observable with an"
        " unknown error needs two at least): free fewer parameters, give priors, or give the `sd` of the measurements."
    ),
    CalibrationStatus.NO_MEASUREMENTS: "This twin has no measurements.",
    CalibrationStatus.NO_PROGRESS: (
        "No step improves the fit, and it is not at a minimum: tighten the solver's `rtol`, or smooth the model where"
        " it jumps in its parameters."
    ),
    CalibrationStatus.ZERO_SD: (
        "The noise model gives a measurement a standard deviation of zero, and so an infinite likelihood (a proportional"
        " error where the curve is zero, such as a value before the dose; or a curve through every point): leave that"
        " measurement out, give its `sd`, or use `Combined(sd=...)` with a known `sd`; or give another `start`, if the"
        " curve is zero only there."
    ),
}
