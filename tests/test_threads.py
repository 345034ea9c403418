"""Threads of one process that solve at once, from the very first use on."""

from __future__ import annotations

import os
import subprocess
import sys

AT_ONCE = """
import sys, threading
import numpy as np
import vht
from vht.organs import organ

sys.setswitchinterval(1e-5)
names = ["oral_drug", "bone"] * 4
times = np.linspace(0.0, 5.0, 6)

def solved(number):
    model = organ(names[number])()
    found = vht.simulate(model, times, twins=vht.Twins.sample(model, 9, seed=number))
    return np.stack([*found.values.values()])

def work(number):
    together.wait()
    found[number] = solved(number)

together, found = threading.Barrier(8), {}
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(np.array_equal(found[number], solved(number)) for number in found))
"""


def test_threads_that_begin_at_once_find_what_one_alone_finds(tmp_path):
    """Units are read, models checked and kernels compiled by all of them at the same time."""
    env = os.environ | {"VHT_CACHE_DIR": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", AT_ONCE], env=env, capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("8\n", "")
