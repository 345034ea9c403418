"""A run of the GPU benchmark that is cut, or finds no room for its record, still tells what it found."""

import json
import os
import signal
import subprocess
import sys

import pytest

from benchmarks.__main__ import main
from benchmarks.gpu import cases, check, ensembles, worker
from benchmarks.gpu.__main__ import _show
from benchmarks.gpu.bench import RECORD, Bench
from benchmarks.gpu.problems import Settings, problem


def _bench(write):
    return Bench(None, float("inf"), write, lambda text: None)


def test_a_full_disk_stops_no_measurement():
    room = [False]

    def write(bench):
        if not room[0]:
            raise OSError(28, "No space left on device")

    bench = _bench(write)
    assert bench.attempt("t", "a", lambda: {"seconds": 1.0}) == {"seconds": 1.0}
    assert "No space left" in bench.failed[RECORD] and bench.rows["t"]
    room[0] = True
    bench.keep()
    assert not bench.failed and not bench.traces


def test_the_record_tells_where_something_failed():
    bench = _bench(lambda bench: None)
    bench.attempt("t", "a", lambda: {}["b"])
    assert bench.failed == {"a": "KeyError: 'b'"}
    assert "bench.py" in bench.traces["a"] and '{}["b"]' in bench.traces["a"]


def test_a_reason_is_printed_once(capsys):
    bench = _bench(lambda bench: None)
    bench.not_run = {"a": "the time given was spent", "b": "would take 40 s", "c": "the time given was spent"}
    _show(bench)
    said = capsys.readouterr().out
    assert "not run: a and 1 more: the time given was spent\nnot run: b: would take 40 s\n" in said


def test_a_process_of_the_cpu_lanes_is_ended_while_it_is_busy():
    here = worker.Worker()
    here.ask("lorenz", Settings(1e-6), "float64", problem("lorenz").draw(3))
    process = here._process
    os.kill(process.pid, signal.SIGSTOP)  # as one that computes for minutes
    here.close()
    assert process.returncode == -signal.SIGKILL


def test_a_case_that_cannot_be_made_is_told(tmp_path, capsys, monkeypatch):
    def fail(case, bench):
        raise ImportError("no such model")

    monkeypatch.setattr(check, "run", fail)
    monkeypatch.setitem(cases.DRY, "lorenz", cases.DRY["lorenz"][:1])
    monkeypatch.setattr(ensembles, "run", lambda case, bench: bench.attempt("t", "after", dict))
    assert main(["gpu", "check", "lorenz", "--dry-run", "--out", str(tmp_path)]) == 1
    assert "ImportError: no such model" in capsys.readouterr().out
    (path,) = tmp_path.iterdir()
    assert "in fail" in "".join(json.loads(path.read_text())["benchmarks"]["gpu"]["traces"].values())


@pytest.mark.skipif(os.name == "nt", reason="no signals there")
def test_what_is_stopped_shows_its_tables(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "gpu", "check", "lorenz", "--dry-run", "--out", str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in run.stderr:
        if "lanes on two CPU cores" in line:
            run.terminate()
            break
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 128 + signal.SIGTERM
    assert "small kernels on the device" in said and "stopped before it was done" in said
    (path,) = tmp_path.iterdir()
    assert "stopped" in "".join(json.loads(path.read_text())["benchmarks"]["gpu"]["not_run"].values())
