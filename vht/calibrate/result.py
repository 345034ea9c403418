"""A calibration's result: estimates, their uncertainty and how each twin ended. It holds data, never the estimator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from vht.calibrate.fit import TIE
from vht.calibrate.status import CalibrationStatus
from vht.calibrate.transforms import Logit, Transform
from vht.calibrate.uncertainty import student_quantile
from vht.errors import ModelError
from vht.solve import Failure

if TYPE_CHECKING:
    import pyarrow

    from vht.calibrate.estimators import LevenbergMarquardt
    from vht.calibrate.problem import Problem


@dataclass(frozen=True, eq=False)
class Starts:
    """How every start of every twin ended; NaN where a start has no estimate.

    Attributes:
        status: a `CalibrationStatus` each.
        objective: where it ended.
        estimate: where it ended, natural scale.
    """

    status: Int[np.ndarray, "twins starts"]
    objective: Float[np.ndarray, "twins starts"]
    estimate: Float[np.ndarray, "twins starts parameters"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """The calibrated twins. Numbers are NaN for a twin without estimates (see `status`).

    Attributes:
        twins: names.
        parameters: names of the free parameters.
        units: their units.
        observables: names.
        observable_units: their units.
        estimate: on the natural scale.
        standard_error: on the natural scale, by the delta method; NaN for a parameter held at a bound.
        covariance: on the natural scale; NaN in rows and columns of a parameter held at a bound.
        degrees: degrees of freedom of each parameter's t interval; infinite where all errors were known.
        search_estimate: on the scale of each parameter's transform.
        search_covariance: on that scale; zero in rows and columns of a parameter held at a bound.
        transforms: each parameter's.
        at_bound: parameters held at a bound.
        sd: additive part of each observable's standard deviation, as known or estimated (residual sum of squares over
            degrees of freedom); 0 if the noise model has none, NaN where each measurement brought its own.
        fraction: proportional part, likewise.
        rmse: root mean square of measured minus fitted, over all measurements of the observable.
        objective: negative log-likelihood, plus the priors' penalties.
        status: a `CalibrationStatus` each.
        iterations: trial points, all starts together.
        seconds: wall-clock time of the whole calibration.
        fitted: the curve at each measurement, in the order of the measurements.
        starts: how each start ended.
        weakest: for a `singular` twin the direction that the measurements leave open.
        method: the estimator's settings.
    """

    twins: tuple[str, ...]
    parameters: tuple[str, ...]
    units: tuple[str, ...]
    observables: tuple[str, ...]
    observable_units: tuple[str, ...]
    estimate: Float[np.ndarray, "twins parameters"]
    standard_error: Float[np.ndarray, "twins parameters"]
    covariance: Float[np.ndarray, "twins parameters parameters"]
    degrees: Float[np.ndarray, "twins parameters"]
    search_estimate: Float[np.ndarray, "twins parameters"]
    search_covariance: Float[np.ndarray, "twins parameters parameters"]
    transforms: tuple[Transform, ...]
    at_bound: Bool[np.ndarray, "twins parameters"]
    sd: Float[np.ndarray, "twins observables"]
    fraction: Float[np.ndarray, "twins observables"]
    rmse: Float[np.ndarray, "twins observables"]
    objective: Float[np.ndarray, " twins"]
    status: Int[np.ndarray, " twins"]
    iterations: Int[np.ndarray, " twins"]
    seconds: float
    fitted: Float[np.ndarray, " m"]
    starts: Starts
    weakest: Float[np.ndarray, "twins parameters"]
    method: LevenbergMarquardt

    def __len__(self) -> int:
        return len(self.twins)

    def check_of(self, problem: Problem) -> None:
        """Refuse another problem than the one that was calibrated, as far as parameters and twins tell.

        Raises:
            ModelError: it is another one.
        """
        if (self.parameters, self.twins) != (problem.names, problem.twin_names):
            raise ModelError(
                "The calibration is of another problem: its parameters or twins are not those of this one."
            )

    @property
    def ok(self) -> Bool[np.ndarray, " twins"]:
        """Which twins ended as `ok`."""
        return self.status == CalibrationStatus.OK

    @property
    def starts_agreeing(self) -> Int[np.ndarray, " twins"]:
        """How many of each twin's starts ended at an optimum as good as the one reported."""
        return self._as_good().sum(axis=1)

    @property
    def has_rival(self) -> Bool[np.ndarray, " twins"]:
        """Whether another start ended at an equally good optimum with clearly different parameters.

        Different means by more than a tenth of a standard error: the model then explains the measurements in several
        ways (the flip-flop of absorption and elimination, for one), and the earliest start decided.
        """
        with np.errstate(invalid="ignore"):
            apart = np.abs(self.starts.estimate - self.estimate[:, None]) > 0.1 * self.standard_error[:, None]
        return np.asarray((self._as_good()[:, :, None] & apart).any(axis=(1, 2)))

    def _as_good(self) -> Bool[np.ndarray, "twins starts"]:
        """Which starts ended at an optimum as good as the one reported."""
        tie = TIE * (1.0 + np.abs(self.objective))
        return np.abs(self.starts.objective - self.objective[:, None]) <= tie[:, None]

    def interval(
        self, level: float = 0.95
    ) -> tuple[Float[np.ndarray, "twins parameters"], Float[np.ndarray, "twins parameters"]]:
        """Central intervals for the parameters.

        They are t intervals on each parameter's transformed scale, mapped back, so they never leave its bounds. Where a bound
        is nearer than twice the half width of the t interval on the natural scale, the logit says little about the far side;
        then it is that interval, cut at the bounds.

        Args:
            level: share of twins whose interval should hold the true value, in (0, 1).

        Returns:
            Lower and upper ends; NaN where there is no estimate or the parameter is held at a bound.

        Raises:
            ValueError: `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"`level` must lie between 0 and 1, but got {level}.")
        spread = np.sqrt(np.einsum("bkk->bk", self.search_covariance))
        quantile = np.where(self.at_bound, np.nan, student_quantile(level, self.degrees))
        ends = np.full((2, *self.estimate.shape), np.nan)
        reach = quantile * spread
        for k, transform in enumerate(self.transforms):
            for side, row in zip((-reach, reach), ends, strict=True):
                row[:, k] = transform.inverse(self.search_estimate[:, k] + side[:, k])
            if isinstance(transform, Logit):
                away = (quantile * self.standard_error)[:, k]
                plain = np.stack([self.estimate[:, k] - away, self.estimate[:, k] + away])
                near = (plain[0] - away < transform.lower) | (plain[1] + away > transform.upper)
                ends[:, near, k] = np.clip(plain[:, near], transform.lower, transform.upper)
        return ends[0], ends[1]

    def message(self, twin: int) -> str:
        """What happened to a twin, and what to do.

        Args:
            twin: its index.
        """
        status = CalibrationStatus(int(self.status[twin]))
        if status is CalibrationStatus.SINGULAR:
            direction = np.abs(self.weakest[twin])
            named = [
                f"`{p}`" for p, part in zip(self.parameters, direction, strict=True) if part > 0.3 * direction.max()
            ]
            what = f"{named[0]} alone" if len(named) == 1 else f"{' and '.join(named)} against each other"
            return f"{status.message} Least determined: {what}."
        if status is CalibrationStatus.AT_BOUND:
            named = [f"`{p}`" for p, held in zip(self.parameters, self.at_bound[twin], strict=True) if held]
            return f"{status.message} At a bound: {', '.join(named)}."
        return status.message

    def failures(self) -> list[Failure]:
        """The twins that did not end as `ok`."""
        return [
            Failure(int(i), self.twins[i], CalibrationStatus(int(self.status[i])).label, self.message(int(i)))
            for i in np.flatnonzero(~self.ok)
        ]

    def rows(self) -> Iterator[dict[str, object]]:
        """The rows of `to_table`, one at a time."""
        yield from self.to_table().to_pylist()

    def to_table(self) -> pyarrow.Table:
        """A long table: a row for each twin and parameter.

        Returns:
            Columns twin, parameter, estimate, standard_error, lower95, upper95, unit, status; null where there is no number.
        """
        import pyarrow as pa

        twins, free = self.estimate.shape
        lower, upper = self.interval(0.95)
        labels = [status.label for status in CalibrationStatus]

        def numbers(values: np.ndarray) -> pa.Array:
            return pa.array(values.ravel(), pa.float64(), from_pandas=True)  # NaN becomes null

        def repeated(words: tuple[str, ...] | list[str], codes: np.ndarray) -> pa.Array:
            return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(words, pa.string())).cast(
                pa.string()
            )

        across, along = np.repeat(np.arange(twins), free), np.tile(np.arange(free), twins)
        return pa.table(
            {
                "twin": repeated(self.twins, across),
                "parameter": repeated(self.parameters, along),
                "estimate": numbers(self.estimate),
                "standard_error": numbers(self.standard_error),
                "lower95": numbers(lower),
                "upper95": numbers(upper),
                "unit": repeated(self.units, along),
                "status": repeated(labels, self.status[across]),
            }
        )
