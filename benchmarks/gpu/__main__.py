"""``python -m benchmarks.gpu [PART ...] [--dry-run | --cpu] [--seconds S]``."""

from __future__ import annotations

import argparse
import faulthandler
import os
import pathlib
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure, print the tables, and write a record.

    Args:
        arguments: of the command line.

    Returns:
        0 done, 1 a target missed or a case failed, 2 no GPU.
    """
    began = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu", description="Lanes on an NVIDIA GPU, beside others."
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="by default all but `targets`, which are some of the others; --list names them",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tiny sizes on the CPU, to see that all works; no record"
    )
    parser.add_argument(
        "--cpu", action="store_true", help="full sizes on the cores of the CPU; only of the parts that make sense there"
    )
    parser.add_argument("--last", action="store_true", help="of each part the last case only")
    parser.add_argument("--seconds", type=float, default=540.0, help="after which no further case begins")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the record; by default benchmarks/results")
    parser.add_argument("--list", action="store_true", help="name the parts and their cases")
    options = parser.parse_args(arguments)
    if options.dry_run or options.cpu:
        os.environ["JAX_PLATFORMS"] = "cpu"
    elif "cpu" not in (platforms := os.environ.get("JAX_PLATFORMS") or "cpu").split(","):
        os.environ["JAX_PLATFORMS"] = f"{platforms},cpu"  # what the device gives is compared with what the CPU gives
    from benchmarks.gpu import cases

    if unknown := [name for name in options.parts if name not in cases.FULL]:
        parser.error(f"there is no part {', '.join(unknown)}; choose from {', '.join(cases.FULL)}")
    chosen = tuple(dict.fromkeys(options.parts)) or (cases.ON_CPU if options.cpu else cases.PARTS)
    if options.cpu and (beyond := [name for name in chosen if name not in cases.ON_CPU]):
        parser.error(f"{', '.join(beyond)} needs a GPU: with --cpu there is {', '.join(cases.ON_CPU)}")
    table = cases.DRY if options.dry_run else cases.FULL
    if options.last:
        table = {name: listed[-1:] for name, listed in table.items()}
    if options.list:
        for name in chosen if options.parts or options.cpu else cases.FULL:
            print(f"{name}: {len(table[name])} case{'s' * (len(table[name]) != 1)}")
            for case in table[name]:
                print(f"  {case}")
        return 0

    import jax

    jax.config.update("jax_enable_x64", True)
    from benchmarks.gpu import device

    here = options.dry_run or options.cpu
    lack = None if here else device.missing()
    if lack is not None:
        print(
            f"This benchmark needs an NVIDIA GPU, but {lack}. `--dry-run` shows on the CPU that all works.",
            file=sys.stderr,
        )
        return 2
    return _run(chosen, table, None if here else device.limits(), options, began)


def _run(chosen: Sequence[str], table: dict[str, Any], limits: Any, options: argparse.Namespace, began: float) -> int:
    from benchmarks.__main__ import RESULTS, _write
    from benchmarks.gpu import calibration, cases, check, ensembles, gradient, summary
    from benchmarks.gpu.bench import Bench
    from benchmarks.gpu.device import describe
    from benchmarks.machine import describe as machine

    runners: dict[type, Any] = {
        cases.Ensemble: ensembles.run,
        cases.Gradient: gradient.run,
        cases.Calibration: calibration.run,
        cases.Check: check.run,
    }
    folder = options.out or (None if options.dry_run else RESULTS)
    path = None
    about = {"machine": machine(), "device": describe(limits), "quick": options.dry_run, "parts": list(chosen)}

    def write(bench: Bench) -> None:
        nonlocal path
        if folder is not None:
            path = _write(about | {"benchmarks": {"gpu": _record(bench, time.monotonic() - began)}}, folder, path)

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    bench = Bench(limits, began + options.seconds, write, say)
    if options.dry_run:
        print("Dry run on the CPU: that all works, no more; its times say nothing.")
    print(f"{about['device']['name']}; {about['machine']['processor']}; {about['machine']['packages']}")
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        for name in chosen:
            for case in table[name]:
                try:
                    runners[type(case)](case, bench)
                except Exception as error:  # what a case is made of; its measurements keep their errors themselves
                    bench.fail(str(case), error)
    finally:
        bench.worker.close()
        bench.keep()
        _show(bench)
        signal.signal(signal.SIGTERM, before)
    if path is not None:
        print(f"Record: {path}")
    missed = not options.dry_run and any(target.met is False for target in summary.targets(bench))
    return 1 if bench.failed or missed else 0


def _stop(number: int, frame: Any) -> None:
    """Who ends the run, as `timeout` does, still gets the tables of what was found."""
    raise SystemExit(128 + number)


def _record(bench: Any, seconds: float) -> dict[str, Any]:
    from benchmarks.gpu import summary
    from benchmarks.outcome import Outcome

    outcome = Outcome(
        "lanes on an NVIDIA GPU", summary.tables(bench), summary.targets(bench), [*summary.NOTES, *summary.published()]
    )
    outcome.skipped = bench.unavailable
    kept = {"failed": bench.failed, "traces": bench.traces, "not_run": bench.not_run, "seconds": seconds}
    return outcome.record() | kept


def _show(bench: Any) -> None:
    from benchmarks.gpu import summary
    from benchmarks.outcome import shown

    for table in summary.tables(bench):
        print(f"\n{table.title}")
        texts = [[column.heading for column in table.columns]]
        texts += [[shown(row.get(column.field), column.form) for column in table.columns] for row in table.rows]
        widths = [max(len(line[i]) for line in texts) for i in range(len(table.columns))]
        for line in texts:
            cells = zip(line, widths, table.columns, strict=True)
            print("  ".join(text.rjust(w) if column.form else text.ljust(w) for text, w, column in cells).rstrip())
    print()
    for note in (*summary.NOTES, *summary.published()):
        print(f"  {note}")
    # last, since the end is what is kept of a long output
    for label, told in (("not here", bench.unavailable), ("not run", bench.not_run), ("failed", bench.failed)):
        # what has the same reason in a line, or the tables would not be in what is kept
        for why in dict.fromkeys(told.values()):
            first, *others = (what for what in told if told[what] == why)
            print(f"{label}: {first}{f' and {len(others)} more' if others else ''}: {why}")
    for target in summary.targets(bench):
        word = {True: "met", False: "MISSED", None: "not measured"}[target.met]
        found = "-" if target.measured is None else f"{target.measured:.3g} {target.unit}".strip()
        limit = f"{'at least' if target.at_least else 'at most'} {target.wanted:g} {target.unit}".strip()
        print(f"{word:>12}  {target.what}: {found} ({limit})")


if __name__ == "__main__":
    faulthandler.enable()  # where a driver or XLA ended the process, if it does
    sys.exit(main())
