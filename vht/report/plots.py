"""Figures: fits with their bands, and simulated cohorts."""

from __future__ import annotations

import itertools
import math
import pathlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vht.calibrate import Band, Calibration
    from vht.cohort.study import Study
    from vht.solve import Trajectory

INK, SOFT, GRID = "#1f2933", "#616e7c", "#e4e7eb"
CURVE, POINT = "#0b6e99", "#d9480f"
PAGE = 12
"""Fits on one overview page."""
EXAMPLES = 3
"""Twins drawn one by one in front of their cohort."""
PANELS = 12
"""Most quantities in the figure of a simulated cohort."""
_BYTES = 255
"""Longest name of a file, in UTF-8."""

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    # a `$` in a title or a name is a `$`, and no number is written with one
    "text.parse_math": False,
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def draw_calibration(
    folder: pathlib.Path,
    study: Study,
    calibration: Calibration,
    curves: Band,
    progress: Callable[[int, int], object] | None = None,
) -> list[pathlib.Path]:
    """One PNG for each twin, and overview pages.

    Args:
        folder: where to; made if need be.
        study: what was calibrated.
        calibration: its result.
        curves: the fitted curves with their bands.
        progress: called with figures drawn and their total.

    Returns:
        The files, overview pages first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    twins, observables = len(calibration), calibration.observables
    pages = [range(first, min(first + PAGE, twins)) for first in range(0, twins, PAGE)] if twins > 1 else []
    total, files = twins + len(pages) * len(observables), []
    points = _Points(study, calibration)
    with _styled():
        for name, stem in zip(observables, _stems(observables, 200), strict=True):
            for number, page in enumerate(pages, 1):
                suffix = ("" if len(observables) == 1 else f"-{stem}") + ("" if len(pages) == 1 else f"-{number}")
                files.append(
                    _overview(folder / f"overview{suffix}.png", study, calibration, curves, points, name, page)
                )
                if progress is not None:
                    progress(len(files), total)
        # the overview pages' names are not for twins
        names = [f"twin-{name}" if re.match("overview(-|$)", _safe(name), re.I) else name for name in calibration.twins]
        for twin, stem in enumerate(_stems(names)):
            files.append(_single(folder / f"{stem}.png", study, calibration, curves, points, twin))
            if progress is not None:
                progress(len(files), total)
    return files


class _Points:
    """The measurements of each twin, those left out by `since` too."""

    def __init__(self, study: Study, calibration: Calibration) -> None:
        table = study.everything.measurements
        assert table is not None
        self.twin, self.time, self.value = np.asarray(table.twin), np.asarray(table.time), np.asarray(table.value)
        self.observable, self.since = np.asarray(table.observable), study.since
        # the whole table may know twins whom the calibration does not, or in another order
        names = study.everything.twins
        at = {name: i for i, name in enumerate(calibration.twins)}
        self.twin = np.array([at.get(name, -1) for name in names])[self.twin]

    def of(self, twin: int, observable: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times, values, and which are used."""
        rows = (self.twin == twin) & (self.observable == observable)
        return self.time[rows], self.value[rows], self.time[rows] >= self.since.get(observable, -np.inf)


def _fit(
    axes: Axes,
    study: Study,
    calibration: Calibration,
    curves: Band,
    points: _Points,
    twin: int,
    name: str,
    size: float = 1.0,
) -> None:
    times, line = curves.times[twin], curves.value[name][twin]
    percent = f"{100 * curves.level:g} %"
    used_from = study.since.get(name, -np.inf)
    if np.isfinite(line).any():
        spread = curves.measured_lower[name][twin], curves.measured_upper[name][twin]
        if np.isfinite(spread[0]).any():
            label = f"{percent} of new measurements"
            axes.fill_between(times, *spread, color=CURVE, alpha=0.09, linewidth=0, label=label, zorder=1)
        low, high = curves.lower[name][twin], curves.upper[name][twin]
        axes.fill_between(
            times, low, high, color=CURVE, alpha=0.30, linewidth=0, label=f"{percent} band of the curve", zorder=2
        )
        early = int(np.searchsorted(times, used_from))
        axes.plot(times[early:], line[early:], color=CURVE, linewidth=1.8 * size, label="fitted curve", zorder=3)
        if early:
            before = slice(early + 1)
            axes.plot(times[before], line[before], color=CURVE, linewidth=1.2 * size, linestyle=(0, (3, 2)), zorder=3)
    else:
        from vht.calibrate import CalibrationStatus

        words = f"no fit: {CalibrationStatus(int(calibration.status[twin])).label}"
        axes.text(0.03, 0.94, words, transform=axes.transAxes, ha="left", va="top", color=POINT)
    time, value, used = points.of(twin, name)
    marker: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5 * size, "zorder": 4}
    axes.plot(
        time[used], value[used], color=POINT, markeredgecolor="white", markeredgewidth=0.7, label="measured", **marker
    )
    if (~used).any():
        label = "measured, left out"
        axes.plot(time[~used], value[~used], markerfacecolor="white", markeredgecolor=POINT, label=label, **marker)
    _limits(axes, time, value, curves, twin, name)


def _limits(axes: Axes, time: np.ndarray, value: np.ndarray, curves: Band, twin: int, name: str) -> None:
    """A wide band must not squeeze the measurements: the axes follow the points, the curve and a share of the band."""
    _span(axes, curves.times[twin])
    line = curves.value[name][twin]
    seen = np.concatenate([value, line[np.isfinite(line)]])
    if not seen.size:
        axes.set_yticks([])
        return
    low, high = float(seen.min()), float(seen.max())
    reach = max(high - low, 1e-12 * abs(high), np.finfo(float).tiny)
    edges = [curves.lower[name][twin], curves.upper[name][twin], curves.measured_lower[name][twin]]
    edges.append(curves.measured_upper[name][twin])
    band = np.concatenate([edge[np.isfinite(edge)] for edge in edges])
    if band.size:
        low, high = min(low, max(band.min(), low - 0.35 * reach)), max(high, min(band.max(), high + 0.35 * reach))
    if high == low:
        low, high = low - (0.1 * abs(low) or 1.0), high + (0.1 * abs(high) or 1.0)
    if seen.min() >= 0.0:
        low = 0.0 if seen.min() < 0.4 * high else max(low, 0.0)
    axes.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))


def _span(axes: Axes, times: np.ndarray) -> None:
    first, last = float(times.min()), float(times.max())
    axes.set_xlim(first - 0.02 * (last - first), last + 0.02 * (last - first))


def _overview(
    path: pathlib.Path,
    study: Study,
    calibration: Calibration,
    curves: Band,
    points: _Points,
    name: str,
    page: Sequence[int],
) -> pathlib.Path:
    columns = min(len(page), 4 if len(page) > 6 or len(page) == 4 else 3)
    rows = math.ceil(len(page) / columns)
    figure = _figure(3.1 * columns + 0.5, 2.35 * rows + 1.1)
    spans = np.ptp(curves.times[page], axis=1)
    # one axis of time for all, unless someone would have less than half of it
    shared = bool(2 * spans.min() >= spans.max())
    grid = figure.subplots(rows, columns, sharex=shared, squeeze=False)
    for axes, twin in zip(grid.flat, page, strict=False):
        _fit(axes, study, calibration, curves, points, twin, name, size=0.8)
        axes.set_title(_twin(calibration.twins[twin]), loc="left", fontsize=9.5, fontweight="bold", pad=4)
    if shared:
        _span(grid.flat[0], curves.times[page])
    _time_axes(study, grid, len(page), shared)
    handles, labels = _legend(grid.flat[: len(page)])
    figure.suptitle(study.title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    unit = calibration.observable_units[calibration.observables.index(name)]
    figure.supylabel(f"{_meaning(study, name)} [{_pretty(unit)}]", fontsize=10)
    figure.savefig(path, dpi=130)
    return path


def _single(
    path: pathlib.Path, study: Study, calibration: Calibration, curves: Band, points: _Points, twin: int
) -> pathlib.Path:
    names = calibration.observables
    figure = _figure(7.4, 1.2 + 3.4 * len(names))
    grid = figure.subplots(len(names), 1, sharex=True, squeeze=False)
    for axes, name, unit in zip(grid.flat, names, calibration.observable_units, strict=True):
        _fit(axes, study, calibration, curves, points, twin, name)
        axes.set_ylabel(f"{_meaning(study, name)} [{_pretty(unit)}]")
    grid.flat[-1].set_xlabel(f"time [{type(study.model).time}]")
    title = study.title if len(calibration) == 1 else f"{study.title}: {_twin(calibration.twins[twin])}"
    figure.suptitle(title, x=0.015, ha="left", fontsize=12, fontweight="bold")
    handles, labels = _legend(grid.flat)
    # above the axes: within them it would cover points
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.3}
    columns = 2 if len(labels) == 4 else 3
    grid.flat[0].legend(handles, labels, ncols=columns, fontsize=9, columnspacing=1.5, **place)
    parts = []
    for k, (name, unit) in enumerate(zip(calibration.parameters, calibration.units, strict=True)):
        if np.isfinite(calibration.estimate[twin, k]):
            unit = "" if unit == "1" else f" {_pretty(unit)}"
            error = calibration.standard_error[twin, k]
            plus = f" ± {error:.2g}" if np.isfinite(error) else ""
            parts.append(f"{name} = {calibration.estimate[twin, k]:.4g}{plus}{unit}")
    lines = ["     ".join(parts[i : i + 3]) for i in range(0, len(parts), 3)]
    figure.supxlabel("\n".join(lines), fontsize=9, color=SOFT, x=0.5)
    figure.savefig(path, dpi=130)
    return path


def draw_simulation(folder: pathlib.Path, study: Study, trajectory: Trajectory) -> list[pathlib.Path]:
    """One PNG: each saved quantity over time, its spread over the cohort, and some twins.

    Args:
        folder: where to; made if need be.
        study: what was simulated.
        trajectory: its result.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels = {label.name: label for label in trajectory.labels}
    wanted = None if study.simulation is None else study.simulation.observe
    every = list(wanted or labels)
    names = every[:PANELS]
    times = np.asarray(trajectory.times)
    ok = np.flatnonzero(np.asarray(trajectory.ok))
    with _styled():
        columns = min(len(names), 2)
        rows = math.ceil(len(names) / columns)
        figure = _figure(5.6 * columns + 0.4, 2.6 * rows + 1.1)
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for axes, name in zip(grid.flat, names, strict=False):
            values = np.asarray(trajectory.values[name])[ok]
            if len(values) > EXAMPLES:
                low, lower, upper, high = np.quantile(values, [0.05, 0.25, 0.75, 0.95], axis=0)
                axes.fill_between(times, low, high, color=CURVE, alpha=0.10, linewidth=0, label="90 % of twins")
                axes.fill_between(times, lower, upper, color=CURVE, alpha=0.20, linewidth=0, label="50 % of twins")
            for i, colour in zip(range(min(EXAMPLES, len(values))), (POINT, CURVE, INK), strict=False):
                axes.plot(times, values[i], color=colour, linewidth=1.1, label=_twin(trajectory.name(int(ok[i]))))
            label = labels[name]
            axes.set_title(f"{label.meaning} ({name})", loc="left", fontsize=9.5, fontweight="bold", pad=4)
            axes.set_ylabel(f"[{_pretty(label.unit)}]")
            axes.margins(x=0.01)
            if not len(values):
                axes.set_xlim(times[0], times[-1])
                axes.set_yticks([])
                axes.text(0.5, 0.5, "no twin succeeded", transform=axes.transAxes, ha="center", color=POINT)
        _time_axes(study, grid, len(names))
        figure.suptitle(study.title, x=0.012, ha="left", fontsize=13, fontweight="bold")
        handles, texts = _legend(grid.flat[: len(names)])
        words = f"the first {len(names)} of {len(every)} quantities; `observe` in `[simulate]` gives their order"
        note = words if len(names) < len(every) else None
        figure.legend(
            handles, texts, title=note, loc="outside lower center", ncols=len(texts), fontsize=9, title_fontsize=9
        )
        path = folder / "overview.png"
        figure.savefig(path, dpi=130)
    return [path]


# ------------------------------------------------------------------------------------------------------------ details


@contextmanager
def _styled() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def _figure(width: float, height: float) -> Figure:
    # not pyplot: no window system, nothing global
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _time_axes(study: Study, grid: Any, filled: int, shared: bool = True) -> None:
    """Hide the empty places of the last row, above which the time has to be written too; and everywhere unless shared."""
    columns = grid.shape[1]
    for i, axes in enumerate(grid.flat):
        lowest = i + columns >= filled
        axes.set_visible(i < filled)
        axes.tick_params(labelbottom=lowest or not shared)
        axes.set_xlabel(f"time [{type(study.model).time}]" if lowest else "")


def _legend(all_axes: Any) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    order = ["measured", "measured, left out", "fitted curve"]
    names = [n for n in order if n in found] + [n for n in found if n not in order]
    return [found[name] for name in names], names


def _meaning(study: Study, name: str) -> str:
    from vht.model import outputs, states

    variable = (states(study.model) | outputs(study.model))[study.observables[name].output]
    return variable.meaning if len(variable.meaning) <= 40 else name


def _twin(name: str) -> str:
    if len(name) > 40:
        name = f"{name[:20]}…{name[-9:]}"
    return f"twin {name}" if re.fullmatch(r"[\d.]+", name) else name


def _pretty(unit: str) -> str:
    return unit.replace("*", "·").replace("uU", "µU").replace("ug", "µg")


def _safe(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "_"


def _stems(names: Sequence[str], room: int = _BYTES - len(".png")) -> list[str]:
    """Names of files without their ending: no two the same, upper and lower case being the same, and none too long.

    A name that can be a file's stays as it is; of the same ones, the first.
    """

    def alike(stem: str) -> str:
        return unicodedata.normalize("NFD", stem).casefold()

    plain = [_cut(_safe(name), room) for name in names]
    used, known, stems = set[str](), {alike(stem) for stem in plain}, dict[int, str]()
    numbers: dict[str, Iterator[int]] = {}
    for i in sorted(range(len(names)), key=lambda i: plain[i] != names[i]):
        stem = plain[i]
        if alike(stem) in used:
            suffixes = (f"-{number}" for number in numbers.setdefault(alike(stem), itertools.count(2)))
            numbered = (_cut(plain[i], room - len(suffix)) + suffix for suffix in suffixes)
            stem = next(each for each in numbered if alike(each) not in known)
        used.add(alike(stem))
        known.add(alike(stem))
        stems[i] = stem
    return [stems[i] for i in range(len(names))]


def _cut(name: str, room: int) -> str:
    """As much of a name as is at most so many bytes of UTF-8."""
    return name.encode()[:room].decode(errors="ignore")
