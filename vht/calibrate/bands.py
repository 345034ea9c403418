"""The fitted curve at any times, with its band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from vht.calibrate.problem import Problem
from vht.calibrate.result import Calibration
from vht.calibrate.solver import curves
from vht.calibrate.uncertainty import student_quantile
from vht.errors import ModelError, nearest
from vht.solve import Backend, Device


@dataclass(frozen=True, eq=False)
class Band:
    """Fitted curves with the range in which the true curve, and a new measurement, should lie.

    NaN for twins without estimates.

    Attributes:
        twins: names.
        times: one row a twin.
        value: by observable, the fitted curve.
        lower, upper: by observable, the curve's interval at each time (delta method).
        measured_lower, measured_upper: by observable, the interval of one new measurement; NaN where the noise is unknown
            because each measurement brought its own.
        level: of the intervals.
    """

    twins: tuple[str, ...]
    times: Float[np.ndarray, "twins times"]
    value: dict[str, Float[np.ndarray, "twins times"]]
    lower: dict[str, Float[np.ndarray, "twins times"]]
    upper: dict[str, Float[np.ndarray, "twins times"]]
    measured_lower: dict[str, Float[np.ndarray, "twins times"]]
    measured_upper: dict[str, Float[np.ndarray, "twins times"]]
    level: float


def band(
    problem: Problem,
    calibration: Calibration,
    times: Float[ArrayLike, "*twins times"],
    *,
    level: float = 0.95,
    twins: Sequence[int | str] | None = None,
    backend: Backend = "auto",
    device: Device = "auto",
) -> Band:
    """The fitted curves at given times.

    Args:
        problem: the problem that was calibrated.
        calibration: its result.
        times: ascending, one row for all twins or one a twin.
        level: of the intervals, in (0, 1).
        twins: the twins wanted, indices or names; all by default.
        backend: of the solver.
        device: of the solver.

    Returns:
        Curves and intervals.

    Raises:
        ValueError: `level` is not between 0 and 1, or `times` is one number or has another number of rows than there are twins.
        ModelError: a twin that there is not, or a calibration of another problem.
        DeviceError: a GPU is asked for and there is none that can be used.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"`level` must lie between 0 and 1, but got {level}.")
    calibration.check_of(problem)
    wanted = np.arange(len(calibration)) if twins is None else _indices(twins, calibration.twins)
    at = np.asarray(times, np.float64)
    if at.ndim not in (1, 2):
        raise ValueError(f"`times` must be a row of times, or a row a twin, but has the shape {at.shape}.")
    if at.ndim == 2 and at.shape[0] != wanted.size:
        raise ValueError(f"`times` must have one row for each of {wanted.size} twins, but has {at.shape[0]}.")
    at = np.broadcast_to(at, (wanted.size, at.shape[-1]))

    shape = (len(problem.observables), wanted.size, at.shape[1])
    value, spread, noise = (np.full(shape, np.nan) for _ in range(3))
    good = np.flatnonzero(np.isfinite(calibration.estimate[wanted]).all(axis=1))
    if good.size:
        who = wanted[good]
        curve, slopes, solved, _ = curves(problem, calibration.estimate[who], who, at[good], backend, device)
        place = calibration.search_estimate[who]
        stretch = np.stack([t.derivative(place[:, k]) for k, t in enumerate(calibration.transforms)], axis=1)
        slopes = slopes * stretch[:, None, :]
        with np.errstate(invalid="ignore"):
            variance = np.einsum("obtk,bkl,obtl->obt", slopes, calibration.search_covariance[who], slopes)
            sd, fraction = calibration.sd[who].T[:, :, None], calibration.fraction[who].T[:, :, None]
            value[:, good] = np.where(solved[:, None], curve, np.nan)
            spread[:, good] = np.where(solved[:, None], np.sqrt(np.maximum(variance, 0.0)), np.nan)
            noise[:, good] = np.sqrt(sd**2 + (fraction * curve) ** 2)
    reach = student_quantile(level, calibration.degrees[wanted].min(axis=1))[:, None]
    total = np.sqrt(spread**2 + noise**2)

    def by_name(values: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(problem.observables, values, strict=True))

    return Band(
        twins=tuple(calibration.twins[i] for i in wanted),
        times=at,
        value=by_name(value),
        lower=by_name(value - reach * spread),
        upper=by_name(value + reach * spread),
        measured_lower=by_name(value - reach * total),
        measured_upper=by_name(value + reach * total),
        level=level,
    )


def _indices(twins: Sequence[int | str], names: tuple[str, ...]) -> Int[np.ndarray, " wanted"]:
    found, known = [], {name: i for i, name in enumerate(names)}
    for twin in twins:
        if isinstance(twin, str):
            if twin not in known:
                raise ModelError(f"There is no twin `{twin}`.{nearest(twin, names)}")
            found.append(known[twin])
        elif isinstance(twin, bool | np.bool_) or not isinstance(twin, int | np.integer) or not 0 <= twin < len(names):
            raise ModelError(f"`twins` must hold names, or indices from 0 to {len(names) - 1}, but holds {twin!r}.")
        else:
            found.append(int(twin))
    return np.array(found, np.int64)
