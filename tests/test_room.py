"""Results that do not fit into memory are refused with a plain error; cohorts are solved in parts that fit."""

from __future__ import annotations

import importlib
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from systems import Decay

from vht.errors import TooLargeError, VhtError
from vht.solve import room, simulate, simulate_with_jacobian

MODULE: Any = importlib.import_module("vht.solve.simulate")
TIMES = np.linspace(0.0, 1.0, 1001)


def test_what_has_no_room_is_not_begun(monkeypatch):
    monkeypatch.setattr(room, "memory", lambda: 2**30)
    twins = {"k": np.ones(200_000)}
    message = r"would take 1.5 GiB \(200,000 twins, 1,001 saves, 1 variable\), but this process may have 1.0 GiB: save at fewer"
    with pytest.raises(TooLargeError, match=message) as refused:
        simulate(Decay(), TIMES, observe=["x"], twins=twins)
    assert isinstance(refused.value, VhtError) and isinstance(refused.value, MemoryError)
    twins = {"k": np.ones(100_000)}
    with pytest.raises(TooLargeError, match=r"1.5 GiB \(100,000 twins, .* 1 variable, derivatives by 1\)"):
        simulate_with_jacobian(Decay(), TIMES, free=["k"], observe=["x"], twins=twins)


def test_large_results_come_slice_by_slice(monkeypatch):
    sizes, solved = [], MODULE._solve_values
    monkeypatch.setattr(MODULE, "RESULT_BYTES", 8 * TIMES.size * 4)
    monkeypatch.setattr(MODULE, "_solve_values", lambda plan, given: (sizes.append(plan.twins), solved(plan, given))[1])
    found = simulate(Decay(), TIMES, observe=["x"], twins={"k": np.linspace(0.5, 1.5, 11)})
    assert sizes == [4, 4, 4]
    np.testing.assert_allclose(
        found.values["x"][:, -1] / found.values["x"][:, 0], np.exp(-np.linspace(0.5, 1.5, 11)), 1e-5
    )


def test_limits_of_control_groups_are_known(tmp_path, monkeypatch):
    ours = tmp_path / "cgroup"
    monkeypatch.setattr(room, "_OURS", ours)
    monkeypatch.setattr(room, "_GROUPS", tmp_path)
    assert room._groups() == []
    ours.write_text("4:cpu,memory:/job\n2:pids:/other\n0::/job/step\n")
    assert room._groups() == []
    for place, said in (("memory/job", "3000"), ("job", "2000"), ("job/step", "max")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / ("memory.limit_in_bytes" if "memory" in place else "memory.max")).write_text(said + "\n")
    assert room._groups() == [3000, 2000]
    assert room.memory() == 2000


@pytest.mark.skipif(sys.platform != "linux", reason="a system without control groups")
def test_names_of_control_groups_are_any_letters(tmp_path, monkeypatch):
    """Not text, with what Python takes for the end of a line; and a file that is not as Linux writes it."""
    ours = tmp_path / "cgroup"
    monkeypatch.setattr(room, "_OURS", ours)
    monkeypatch.setattr(room, "_GROUPS", tmp_path)
    for name in (b"f\xfcr", "a\u2028b".encode(), b"a:b\x0c"):
        folder = tmp_path / os.fsdecode(name)
        folder.mkdir()
        (folder / "memory.max").write_text("1000\n")
        ours.write_bytes(b"0::/" + name + b"/step\n")
        assert room._groups() == [1000]
    ours.write_text("\nnothing of ours\n")
    assert room._groups() == []


# XLA has no memory for the results of one kernel call; to look at them would end the process
REFUSED = """
import importlib, resource
import numpy as np
import vht
from systems import Decay

module, times = importlib.import_module("vht.solve.simulate"), np.linspace(0.0, 1.0, 10_000)
vht.simulate(Decay(), times, twins={"k": np.ones(2)})
module.RESULT_BYTES, module.check_room = 2**60, lambda *_: None
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)
try:
    vht.simulate(Decay(), times, twins={"k": np.ones(30_000)})
except vht.errors.TooLargeError as error:
    print(str(error).split(":")[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="another system's limits")
def test_memory_that_is_wanting_is_told():
    folder = pathlib.Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", REFUSED], cwd=folder, capture_output=True, text=True)
    assert done.stdout == "There is not enough memory to solve 30,000 twins as it was tried\n", done.stderr
