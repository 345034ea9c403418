"""``python -m benchmarks [all | NAME ...] [--quick]``; `--help` lists the names. ``gpu`` is `benchmarks.gpu`."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import faulthandler
import importlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any, get_args

RESULTS = pathlib.Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmarks, print their tables and write a record.

    Args:
        arguments: of the command line.

    Returns:
        0 if every target that could be measured was met, 1 otherwise.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["gpu"]:
        from benchmarks.gpu.__main__ import main as gpu

        return gpu(arguments[1:])
    from benchmarks.sizes import FULL, QUICK, Name

    names: tuple[Name, ...] = get_args(Name)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed and accuracy beside other solvers."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(names)} or all; by default all. Or gpu, see gpu --help"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all works; no record")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the record; by default benchmarks/results")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a case, e.g. twins=1000"
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in (*names, "all")]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(names)}, all")
    chosen = names if not options.names or "all" in options.names else tuple(dict.fromkeys(options.names))
    cases: dict[str, Any] = {name: (QUICK if options.quick else FULL)[name] for name in chosen}
    for setting in options.set:
        try:
            cases = _changed(cases, setting)
        except ValueError as error:
            parser.error(str(error))

    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    from rich.console import Console

    jax.config.update("jax_enable_x64", True)
    console = Console(width=None if sys.stdout.isatty() else 160)
    from benchmarks.machine import describe

    machine = describe()
    console.print(f"[bold]{machine['processor']}[/], {machine['cores']} cores; {machine['system']}")
    record: dict[str, Any] = {"machine": machine, "quick": options.quick, "benchmarks": {}}
    folder = options.out or (None if options.quick else RESULTS)
    path, missed = None, 0
    for name, case in cases.items():
        module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
        begin = time.perf_counter()
        with console.status(name) as status:
            outcome = module.run(case, lambda text, name=name, status=status: status.update(f"{name}: {text}"))
        _show(console, outcome)
        seconds = time.perf_counter() - begin
        record["benchmarks"][name] = outcome.record() | {"settings": dataclasses.asdict(case), "seconds": seconds}
        missed += sum(target.met is False for target in outcome.targets)
        record["load_average_after"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        if folder is not None:  # after each, so that a run that is cut keeps what it has
            path = _write(record, folder, path)
    if path is not None:
        console.print(f"Record: {path}")
    return 1 if missed else 0


def _changed(cases: dict[str, Any], setting: str) -> dict[str, Any]:
    """The cases with a field changed in each that has it."""
    name, _, text = setting.partition("=")
    fields = {field.name for case in cases.values() for field in dataclasses.fields(case)}
    if name not in fields:
        raise ValueError(f"--set {setting}: no such field; there are {', '.join(sorted(fields))}")

    def changed(case: Any) -> Any:
        kind = type(getattr(case, name, None))
        if kind is type(None):
            return case
        if kind not in (int, float):
            raise ValueError(f"--set {setting}: only numbers can be set")
        return dataclasses.replace(case, **{name: kind(float(text))})

    return {key: changed(case) for key, case in cases.items()}


def _show(console: Any, outcome: Any) -> None:
    from rich.table import Table

    from benchmarks.outcome import shown

    console.print(f"\n[bold]{outcome.title}[/]")
    for table in outcome.tables:
        drawn = Table(title=table.title, title_justify="left")
        for column in table.columns:
            drawn.add_column(column.heading, justify="right" if column.form else "left")
        for row in table.rows:
            drawn.add_row(*(shown(row.get(column.field), column.form) for column in table.columns))
        console.print(drawn)
    for note in outcome.notes:
        console.print(f"  {note}", highlight=False)
    for what, why in outcome.skipped.items():
        console.print(f"  [yellow]skipped:[/] {what}: {why}", highlight=False)
    if outcome.targets:
        drawn = Table(title="targets", title_justify="left")
        for heading in ("what", "wanted", "measured", ""):
            drawn.add_column(heading, justify="right" if heading in ("wanted", "measured") else "left")
        for target in outcome.targets:
            word = {True: "[green]met[/]", False: "[red]missed[/]", None: "[yellow]not measured[/]"}[target.met]
            limit = f"{'≥' if target.at_least else '≤'} {target.wanted:g} {target.unit}".strip()
            found = "-" if target.measured is None else f"{target.measured:.3g} {target.unit}".strip()
            drawn.add_row(target.what, limit, found, word)
        console.print(drawn)


def _write(record: dict[str, Any], folder: pathlib.Path, path: pathlib.Path | None) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%M%SZ")
    path = path or folder / f"{when}.json"
    # what is cut while it writes leaves the record of before
    new = path.with_suffix(".new")
    new.write_text(json.dumps(_plain(record), indent=1, allow_nan=False) + "\n")
    new.replace(path)
    return path


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: null and text."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value


if __name__ == "__main__":
    faulthandler.enable()  # where compiled code ended the process, if it does
    sys.exit(main())
