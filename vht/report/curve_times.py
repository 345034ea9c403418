"""When to draw each twin's fitted curve: at what was measured and given, and in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from vht.calibrate import Calibration
    from vht.cohort.study import Study
    from vht.solve import Schedule

FEWEST, MOST, ALL = 241, 961, 2**18
"""Times of a twin: as many as keep a cohort's together below `ALL`, between these bounds."""


def curve_times(study: Study, calibration: Calibration) -> Float[np.ndarray, "twins times"]:
    """Times for each twin's curve, from the start to its own last measurement, be it left out by `since` or not.

    Among them are its measurements, and each dose's arrival, each infusion's end and each value of its measured inputs
    twice: then, and just after, where the curve may have jumped. The rest lies evenly, and closer after doses. Of very many
    measurements, doses or values some are taken, evenly.

    Args:
        study: whose cohort.
        calibration: its result, which may hold lags of doses.

    Returns:
        Ascending, in the model's unit of time; rows repeat their last time where they have fewer. A twin without
        measurements after the start is followed as long as the cohort.

    Raises:
        DataError: anything wrong with the tables.
        ModelError: free parameters, observables and tables that do not fit together.
    """
    start = study.problem.start
    measured = _measured(study, calibration.twins)
    given, known = _given(study, calibration)
    longest = max((float(times[-1]) for times in measured if times.size), default=start)
    out = np.empty((len(measured), int(np.clip(ALL // max(len(measured), 1), FEWEST, MOST))))
    for twin, own in enumerate(measured):
        end = next((float(e) for e in (*own[-1:], longest) if e > start), start + 1.0)
        doses, knots = (_within(tables, twin, start, end) for tables in (given, known))
        times = _row(start, end, own, doses, knots, out.shape[1])
        out[twin, : times.size], out[twin, times.size :] = times, end
    return out


def _measured(study: Study, twins: tuple[str, ...]) -> list[Float[np.ndarray, " _times"]]:
    """Each twin's times of measurements, ascending."""
    table = study.everything.measurements
    assert table is not None
    # the whole table may know twins whom the calibration does not, or in another order
    at = {name: i for i, name in enumerate(study.everything.twins)}
    twin, time = np.asarray(table.twin), np.asarray(table.time)
    order = np.lexsort((time, twin))
    bounds = np.searchsorted(twin[order], np.arange(len(at) + 1))
    return [time[order[bounds[at[name]] : bounds[at[name] + 1]]] for name in twins]


def _given(study: Study, calibration: Calibration) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Tables of times, a row a twin or one row for all: of doses that arrive or end, and of values of inputs."""
    from vht.model import inputs

    schedule: Schedule | None = study.problem.schedule
    if schedule is None:
        return [], []
    given = []
    for name, doses in schedule.doses.items():
        arrival = np.asarray(doses.time, np.float64)
        lag = inputs(study.model)[name].lag
        if lag is not None:
            arrival = arrival + _values(study, calibration, lag)[..., None]
        given += [arrival] if doses.duration is None else [arrival, arrival + np.asarray(doses.duration)]
    return given, [np.asarray(signal.time, np.float64) for signal in schedule.signals.values()]


def _values(study: Study, calibration: Calibration, name: str) -> np.ndarray:
    """A parameter, one number or one a twin: as fitted, else as tabled, else the model's."""
    if name in calibration.parameters:
        return calibration.estimate[:, calibration.parameters.index(name)]
    return np.asarray(study.problem.columns.get(name, getattr(study.model, name)), np.float64)


def _within(tables: list[np.ndarray], twin: int, start: float, end: float) -> np.ndarray:
    """The different times of one twin from the start until before the end, ascending."""
    rows = [table[twin] if table.ndim == 2 else table for table in tables]
    # neither inf, which fills up rows, nor NaN, a lag of a twin without estimates
    return np.unique(np.concatenate([row[(row >= start) & (row < end)] for row in rows])) if rows else np.empty(0)


def _row(
    start: float, end: float, measured: np.ndarray, doses: np.ndarray, knots: np.ndarray, count: int
) -> Float[np.ndarray, " _times"]:
    """One twin's times, ascending, at most `count`."""
    after = 1e-9 * (end - start)
    doses = _some(doses, count // 4)
    found = [np.array([start, end]), doses, doses + after]
    left = count - 2 - 2 * doses.size
    found.append(_some(measured[measured >= start], left // 2))
    left -= found[-1].size
    knots = _some(knots, left // 4)
    found += [knots, knots + after]
    left -= 2 * knots.size
    # what a dose starts is fast first: as many times after each, closer and closer towards it
    begins = np.unique([start, *doses])
    each = left // 2 // begins.size
    share = (np.arange(1, each + 1) / (each + 1)) ** 3
    found.append((begins[:, None] + np.diff(begins, append=end)[:, None] * share).ravel())
    found.append(np.linspace(start, end, left - each * begins.size))
    return np.unique(np.minimum(np.concatenate(found), end))


def _some(times: np.ndarray, most: int) -> np.ndarray:
    """All of them, or as many as wanted, evenly chosen."""
    return times if times.size <= most else times[np.linspace(0, times.size - 1, most).astype(int)]
