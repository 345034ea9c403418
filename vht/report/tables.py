"""Tables for people, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vht.report.console import escaped

if TYPE_CHECKING:
    from rich.table import Table

    from vht.calibrate import Calibration
    from vht.library import Verification
    from vht.model import Organ, Variable
    from vht.model.body import Parts
    from vht.solve import Trajectory

ROWS = 40
"""Twins that a table shows before it only counts the rest."""


def calibration_table(title: str, calibration: Calibration) -> Table:
    """Estimate and standard error of each parameter and twin, residual error, status; the time in the last line.

    Args:
        title: of the study.
        calibration: to show.
    """
    from vht.calibrate import CalibrationStatus

    table = _table(title)
    table.add_column("twin", style="bold")
    for name, unit in zip(calibration.parameters, calibration.units, strict=True):
        table.add_column(f"{escaped(name)}\n[dim]{_unit(unit)}[/]", justify="right", no_wrap=True)
        table.add_column("±\n[dim]SE[/]", justify="right", style="dim", no_wrap=True)
    for name, unit in zip(calibration.observables, calibration.observable_units, strict=True):
        which = "residual error" if len(calibration.observables) == 1 else f"residual error, {escaped(name)}"
        table.add_column(f"{which}\n[dim]RMSE, {_unit(unit)}[/]", justify="right", no_wrap=True)
    table.add_column("status")
    # of a large cohort, first those that need looking at
    order = np.argsort(calibration.ok, kind="stable")[:ROWS] if len(calibration) > ROWS else range(len(calibration))
    for twin in order:
        cells = [escaped(calibration.twins[twin])]
        for estimate, error in zip(calibration.estimate[twin], calibration.standard_error[twin], strict=True):
            cells += [number(estimate), number(error, 2)]
        cells += [number(error, 3) for error in calibration.rmse[twin]]
        status = CalibrationStatus(int(calibration.status[twin]))
        colour = "green" if status is CalibrationStatus.OK else "yellow" if status.has_estimate else "red"
        table.add_row(*cells, f"[{colour}]{status.label}[/]")
    more = f"{len(calibration) - ROWS:,} more twins in the files. " if len(calibration) > ROWS else ""
    done = int(calibration.ok.sum())
    table.caption = f"{more}{done:,} of {len(calibration):,} twins ok, {calibration.seconds:.2f} s"
    return table


def failure_table(failures: list[Any], what: str = "Not ok") -> Table | None:
    """Twins that did not end as ok, and what to do; None if there are none."""
    if not failures:
        return None
    table = _table(what)
    for column in ("twin", "status", "what to do"):
        table.add_column(column)
    for failure in failures[:ROWS]:
        name = getattr(failure, "twin", None) or getattr(failure, "name", "")
        table.add_row(escaped(str(name)), failure.status, escaped(failure.message))
    if len(failures) > ROWS:
        table.caption = f"and {len(failures) - ROWS:,} more"
    return table


def simulation_table(title: str, trajectory: Trajectory, seconds: float) -> Table:
    """Median and range over the cohort of everything saved, at the last time."""
    table = _table(title)
    for column in ("saved", "unit", "meaning"):
        table.add_column(column)
    for column in ("5 %", "median", "95 %"):
        table.add_column(column, justify="right")
    ok = np.asarray(trajectory.ok)
    for label in trajectory.labels:
        # over time and twins: the last instant alone would say little of a beating heart
        values = np.asarray(trajectory.values[label.name])[ok]
        cells = [number(q) for q in np.quantile(values, [0.05, 0.5, 0.95])] if values.size else ["", "", ""]
        table.add_row(escaped(label.name), _unit(label.unit), escaped(label.meaning), *cells)
    table.caption = f"over all twins and saved times. {int(ok.sum()):,} of {ok.size:,} twins ok, {seconds:.2f} s"
    if trajectory.settings.note:
        chosen = type(trajectory.settings.method).__name__
        table.caption += f"\nsolved with {chosen}: {trajectory.settings.note}"
    return table


def models_table(title: str, models: dict[str, type[Organ]]) -> Table:
    """Some models of the library, and what each was verified against.

    Args:
        title: of the table.
        models: by name.
    """
    from vht.library import cited, verification
    from vht.model import parameters, states

    table = _table(title)
    table.add_column("name", no_wrap=True, style="bold")
    table.add_column("what it is", ratio=3)
    table.add_column("states", justify="right")
    table.add_column("parameters", justify="right")
    table.add_column("from", ratio=2)
    table.add_column("verified against, and how closely", ratio=4)
    for name, model in models.items():
        records = verification(name)
        more = f" [dim](and {len(records) - 1} more)[/]" if len(records) > 1 else ""
        checked = f"{escaped(_record(records[0]))}{more}" if records else "[dim]nothing recorded[/]"
        counts = str(len(states(model))), str(len(parameters(model)))
        table.add_row(name, escaped(summary(model)), *counts, escaped(cited(model)), checked)
    return table


def _record(record: Verification) -> str:
    return f"{record.what}: {record.figure} ({record.reference})"


def model_tables(name: str, model: type[Organ]) -> list[Table]:
    """One model: what it is, its variables, and what it was verified against."""
    from vht.library import cited, verification
    from vht.model import conserved, events, inputs, outputs, parameters, states

    tables = []
    parts = getattr(model, "parts", None)
    if parts is not None:
        tables += [_organs_table(name, parts), _wires_table(name, parts)]
    table = _table(f"{name}: parameters")
    for column in ("name", "default", "unit", "usual range", "prior", "meaning", "source"):
        table.add_column(column, justify="right" if column == "default" else "left", style=_DIM.get(column))
    for variable in parameters(model).values():
        usual = "" if variable.bounds is None else f"{variable.bounds[0]:g} to {variable.bounds[1]:g}"
        cells = (
            number(variable.default or 0.0),
            _unit(variable.unit),
            usual,
            say_prior(variable.prior),
            variable.meaning,
            variable.source or "",
        )
        table.add_row(f"[bold]{variable.name}[/]", *map(escaped, cells))
    tables.append(table)
    groups = {
        "states": states,
        "inputs": inputs,
        "outputs": outputs,
        "conserved quantities": conserved,
        "events": events,
    }
    for kind, of in groups.items():
        if not of(model):
            continue
        table = _table(f"{name}: {kind}")
        first = {"states": "at the start", "inputs": "where nothing drives it"}.get(kind)
        for column in ("name", "unit", *([first] if first else []), "meaning"):
            table.add_column(column)
        for variable in of(model).values():
            value = [_default(variable)] if first else []
            table.add_row(f"[bold]{variable.name}[/]", _unit(variable.unit), *value, escaped(variable.meaning))
        tables.append(table)
    table = _table(f"{name}: verified")
    for column in ("what", "against", "reached", "demanded"):
        table.add_column(column)
    for record in verification(name):
        within = record.within
        demanded = f"within {within:g}" if isinstance(within, float | int) else f"{within[0]:g} to {within[1]:g}"
        table.add_row(*map(escaped, (record.what, record.reference, record.figure, demanded)))
    if table.row_count:
        tables.append(table)
    tables[-1].caption = f"time in {model.time}; from {escaped(cited(model)) or 'no paper'}"
    return tables


_DIM = {"source": "dim"}


def _default(variable: Variable) -> str:
    if variable.default is not None:
        return number(variable.default)
    return "0" if variable.port == "flow" else "must be driven"


def _organs_table(name: str, parts: Parts) -> Table:
    table = _table(f"{name}: organs")
    for column in ("name", "what it is", "its time"):
        table.add_column(column)
    for key, organ in parts.organs.items():
        table.add_row(f"[bold]{key}[/]", escaped(summary(type(organ))), type(organ).time)
    return table


def _wires_table(name: str, parts: Parts) -> Table:
    from vht.model import inputs

    table = _table(f"{name}: wires")
    for column in ("input", "unit", "from", "meaning"):
        table.add_column(column)
    for sink, sources in parts.sources.items():
        organ, port = sink.split(".", 1)
        variable = inputs(parts.organs[organ])[port]
        said = " + ".join(f"{source.name}" for source in sources) + (" (solved for)" if sink in parts.cut else "")
        table.add_row(f"[bold]{sink}[/]", _unit(variable.unit), said, escaped(variable.meaning))
    return table


def summary(model: type[Organ]) -> str:
    """The first line of a model's description."""
    return (model.__doc__ or "").strip().split("\n")[0].rstrip(".")


def say_prior(prior: Any) -> str:
    """A prior in one short text."""
    match type(prior).__name__:
        case "LogNormal":
            return f"lognormal({prior.median:g}, {prior.sd:g})"
        case "Normal":
            return f"normal({prior.mean:g}, {prior.sd:g})"
        case "Uniform":
            return f"uniform({prior.lower:g}, {prior.upper:g})"
    return ""


def number(value: float, digits: int = 4) -> str:
    """A number with so many significant digits; a dash where there is none."""
    if not np.isfinite(value):
        return "-"
    text = f"{value:#.{digits}g}".rstrip(".") if value else "0"
    return text if "e" not in text else f"{value:.{digits - 1}e}"


def _unit(unit: str) -> str:
    return "" if unit == "1" else escaped(unit)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=escaped(title),
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
