"""From starting Python to the first result of a model nobody has compiled before: import, build, compile, solve."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.cases import FirstResult
from benchmarks.outcome import Column, Outcome, Say, Table, Target

_SCRIPT = pathlib.Path(__file__).parent / "first_result_script.py"

COLUMNS = (
    Column("model", "model"),
    Column("kernel cache", "cache"),
    Column("whole process, s", "total", ".2f"),
    Column("import vht", "import", ".2f"),
    Column("build model", "build", ".2f"),
    Column("first solve", "first", ".2f"),
    Column("of which compile", "compile", ".2f"),
    Column("second solve", "second", ".3f"),
    Column("ok", "ok", ",d"),
)
_FIELDS = ("total", "import", "build", "first", "compile", "second")


def run(case: FirstResult, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    outcome = Outcome(f"From starting Python to the first result of {case.twins:,} twins of a new model")
    rows = []
    for model in case.models:
        measured: dict[str, list[dict[str, Any]]] = {"empty": [], "filled": []}
        for repeat in range(case.repeats):
            with tempfile.TemporaryDirectory(prefix="vht-first-") as folder:
                for cache in ("empty", "filled"):
                    say(f"{model}, cache {cache}, {repeat + 1} of {case.repeats} ...")
                    measured[cache].append(_once(model, case.twins, folder))
        for cache, limit in (("empty", 5.0), ("filled", 2.0)):
            found = measured[cache]
            row: dict[str, Any] = {name: statistics.median(one[name] for one in found) for name in _FIELDS}
            row |= {"model": model, "cache": cache, "ok": min(one["ok"] for one in found)}
            row["all_totals"] = [one["total"] for one in found]
            rows.append(row)
            what = f"seconds to the first result of {model}, kernel cache {cache}"
            outcome.targets.append(Target(what, limit, row["total"], unit="s"))
    outcome.tables.append(Table("first result", COLUMNS, rows))
    outcome.notes += [
        "Whole process: from the start of the Python interpreter to its end, in a process of its own. Compilation is what "
        "the first solve took longer than the second.",
        "left_heart has 3 states and is declared in the script; circulation is the library's, 12 states, solved for 10 s.",
    ]
    return outcome


def _once(model: str, twins: int, cache: str) -> dict[str, Any]:
    environment = os.environ | {"VHT_CACHE_DIR": cache}
    command = [sys.executable, str(_SCRIPT), model, str(twins)]
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    total = time.perf_counter() - begin
    if done.returncode != 0:
        raise RuntimeError(f"The process for {model} failed: {done.stderr.strip()[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"total": total, "compile": max(found["first"] - found["second"], 0.0)}
