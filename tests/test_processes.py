"""Processes that were forked say that nothing can be computed in them, where it would not end."""

from __future__ import annotations

import os
import subprocess
import sys

import cloudpickle
import numpy as np
import pytest
from vht_kernels import lanes

# the parent computes with JAX; a child that hangs is ended by its alarm
FORKED = """
import os, signal, sys
import jax.numpy as jnp
import numpy as np
import vht
from vht.organs import organ
from vht_kernels import lanes

kernel, model, times = lanes(lambda x: 2.0 * x), organ("oral_drug")(), np.linspace(0.0, 5.0, 3)
if sys.argv[1] == "after":
    jnp.arange(3.0) + 1.0
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    for what in (
        lambda: kernel(np.arange(3.0)),
        lambda: vht.simulate(model, times),
        lambda: vht.simulate(model, times, method=vht.Auto()),
        lambda: vht.steady_state(model),
    ):
        try:
            what()
            print("well")
        except Exception as error:
            print(type(error).__name__, error)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_forked_process_refuses_what_would_wait_for_threads_that_it_does_not_have(when):
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, when], capture_output=True, text=True, check=True
    )
    lines = found.stdout.splitlines()
    if when == "before":
        assert lines == ["well"] * 4
        return
    assert [line.split(": ")[0] for line in lines] == [
        "RuntimeError A kernel cannot be run",
        *["DeviceError Nothing can be solved here"] * 3,
    ]
    assert all('`multiprocessing.get_context("spawn")`' in line for line in lines)


LOADED = """
import pickle, sys
import numpy as np
doubled, width = pickle.load(sys.stdin.buffer)
print(doubled(np.arange(3.0, dtype=np.float32)).tolist(), width(np.ones(3)) > 0)
"""


def test_a_kernel_goes_with_a_function_to_another_process():
    """As dask and joblib send functions that no module holds."""
    kernel = lanes(lambda x, *, by: by * x, in_axes=0)
    kernel(np.ones(2), by=np.ones(2))  # what is traced here stays here

    def doubled(x):
        return kernel(x, by=np.full(x.shape, 2.0, x.dtype))

    def width(x):
        return kernel.report(x, by=x).width

    found = subprocess.run(
        [sys.executable, "-c", LOADED], input=cloudpickle.dumps((doubled, width)), capture_output=True, check=True
    )
    assert found.stdout.decode() == "[0.0, 2.0, 4.0] True\n"
