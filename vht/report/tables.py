"""Tables for people, in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vht.report.console import escaped

if TYPE_CHECKING:
    from rich.table import Table

    from vht.calibrate import Calibration
    from vht.library import Verification
    from vht.model import Organ, Variable
    from vht.model.body import Parts
    from vht.solve import Failure, Trajectory

NARROW = 110
"""Width of a terminal, in letters, below which the tables of models have fewer columns."""

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


def failure_table(failures: Sequence[Failure]) -> Table | None:
    """Twins that did not end as ok, and what to do; None if there are none."""
    if not failures:
        return None
    table = _table("Not ok")
    for column in ("twin", "status", "what to do"):
        table.add_column(column)
    for failure in failures[:ROWS]:
        table.add_row(escaped(failure.name), failure.status, escaped(failure.message))
    if len(failures) > ROWS:
        table.caption = f"and {len(failures) - ROWS:,} more"
    return table


def simulation_table(title: str, trajectory: Trajectory, seconds: float) -> Table:
    """Median, 5 % and 95 % of everything saved, over all twins that are ok and all saved times."""
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


def models_table(title: str, models: dict[str, type[Organ]], width: int = NARROW) -> Table:
    """Some models of the library, and what each was verified against.

    Args:
        title: of the table.
        models: by name.
        width: of the terminal.
    """
    from vht.library import cited, verification
    from vht.model import parameters, states

    table = _table(title)
    table.add_column("name", no_wrap=True, style="bold")
    if width < NARROW:
        table.add_column("what it is; verified against, and how closely", overflow="fold")
    else:
        table.add_column("what it is", ratio=3)
        table.add_column("states", justify="right")
        table.add_column("parameters", justify="right")
        table.add_column("from", ratio=2)
        table.add_column("verified against, and how closely", ratio=4)
    for name, model in models.items():
        records = verification(name)
        more = f" [dim](and {len(records) - 1} more)[/]" if len(records) > 1 else ""
        checked = f"{escaped(_record(records[0]))}{more}" if records else "[dim]nothing recorded[/]"
        what, paper = escaped(summary(model)), escaped(cited(model))
        counts = str(len(states(model))), str(len(parameters(model)))
        if width < NARROW:
            table.add_row(name, f"{what}\n{counts[0]} states, {counts[1]} parameters, from {paper}\n{checked}\n")
        else:
            table.add_row(name, what, *counts, paper, checked)
    return table


def _record(record: Verification) -> str:
    return f"{record.what}: {record.figure} ({record.reference})"


def model_tables(name: str, model: type[Organ], width: int = NARROW) -> list[Table]:
    """One model: what it is, its variables, and what it was verified against.

    Args:
        name: in the catalogue.
        model: its class.
        width: of the terminal.
    """
    from vht.library import cited, verification
    from vht.model import conserved, events, inputs, outputs, parameters, states

    tables = []
    parts = getattr(model, "parts", None)
    if parts is not None:
        tables += [_organs_table(name, parts), _wires_table(name, parts)]
    tables.append(_parameters_table(name, parameters(model), width))
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
        first = {"states": "at the start", "inputs": "where nothing drives it"}.get(kind)
        table = _table(f"{name}: {kind}", "name", "unit", *([first] if first else []), "meaning")
        for variable in of(model).values():
            value = [_default(variable)] if first else []
            table.add_row(f"[bold]{variable.name}[/]", _unit(variable.unit), *value, escaped(variable.meaning))
        tables.append(table)
    table = _table(f"{name}: verified", "what", "against", "reached", "demanded", whole=False)
    for record in verification(name):
        within = record.within
        demanded = f"within {within:g}" if isinstance(within, float | int) else f"{within[0]:g} to {within[1]:g}"
        table.add_row(*map(escaped, (record.what, record.reference, record.figure, demanded)))
    if table.row_count:
        tables.append(table)
    tables[-1].caption = f"time in {model.time}; from {escaped(cited(model)) or 'no paper'}"
    return tables


def _parameters_table(name: str, parameters: dict[str, Variable], width: int) -> Table:
    table = _table(f"{name}: parameters", "name")
    table.add_column("default", justify="right", overflow="fold")
    table.add_column("unit", overflow="fold")
    if width < NARROW:
        table.add_column("meaning", overflow="fold")
    else:
        for column in ("usual range", "prior", "meaning"):
            table.add_column(column)
        table.add_column("source", style="dim")
    for variable in parameters.values():
        usual = "" if variable.bounds is None else f"{variable.bounds[0]:g} to {variable.bounds[1]:g}"
        more = usual, say_prior(variable.prior), variable.meaning, variable.source or ""
        if width < NARROW:
            rest = "; ".join(said for said in (usual, more[1], more[3]) if said)
            more = (f"{variable.meaning}\n{rest}",)
        cells = (number(variable.default or 0.0), _unit(variable.unit), *map(escaped, more))
        table.add_row(f"[bold]{variable.name}[/]", *cells)
    return table


def _default(variable: Variable) -> str:
    if variable.default is not None:
        return number(variable.default)
    return "0" if variable.port == "flow" else "must be driven"


def _organs_table(name: str, parts: Parts) -> Table:
    table = _table(f"{name}: organs", "name", "what it is", "its time")
    for key, organ in parts.organs.items():
        table.add_row(f"[bold]{key}[/]", escaped(summary(type(organ))), type(organ).time)
    return table


def _wires_table(name: str, parts: Parts) -> Table:
    from vht.model import inputs

    table = _table(f"{name}: wires", "input", "unit", "from", "meaning")
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


def _table(title: str, *columns: str, whole: bool = True) -> Table:
    """A table; of its columns the first is never cut if `whole`, and the others lose nothing when they are narrow."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=escaped(title),
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column, no_wrap=whole and column == columns[0], overflow="fold")
    return table
