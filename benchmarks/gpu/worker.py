"""Lanes on two cores of the processor, in a process of its own: what the GPU is compared with, in numbers and in time.

JAX takes as many threads as the process may use cores when it starts, so the process gives up the others before that.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pickle
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

CORES = 2
# seconds that repeats may take, and how many there are at least
MOST, FEWEST = 6.0, 3
_CPUS = pathlib.Path("/sys/devices/system/cpu")


class Answer(NamedTuple):
    """What the worker gives.

    Attributes:
        values: at the end; NaN where it failed.
        status: 0 where it went well.
        steps: tried.
        gradient: of the sum of the states at the end; empty last axis if none was asked for.
        seconds: of the repeats, from host to host.
        cores: that it may use.
    """

    values: Float[np.ndarray, "trajectories states"]
    status: Int[np.ndarray, " trajectories"]
    steps: Int[np.ndarray, " trajectories"]
    gradient: Float[np.ndarray, "trajectories directions"]
    seconds: tuple[float, ...]
    cores: int


class Worker:
    """The process; starts when it is first asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def ask(
        self, name: str, settings: Any, precision: str, columns: Any, free: tuple[str, ...] = (), repeats: int = 0
    ) -> Answer:
        """Solve a problem.

        Args:
            name: of the problem.
            settings: of the steps.
            precision: of the states.
            columns: of the trajectories.
            free: by what the sum of the states at the end is differentiated.
            repeats: how often it is timed, after one call that is not; less often where that takes long.

        Raises:
            RuntimeError: it failed there; says what it said.
        """
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            pickle.dump((name, settings, precision, columns, free, repeats), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            # the next one who asks starts another
            self.close()
            raise RuntimeError("The process of the CPU lanes died.") from None
        if isinstance(answer, str):
            raise RuntimeError(f"CPU lanes: {answer}")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            environment = {**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
            # as a module that answers can name, not as the main one
            command = [sys.executable, "-c", "from benchmarks.gpu.worker import main; main()"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=_root()
            )
        return self._process

    def close(self) -> None:
        """End the process, whatever it is at: what waits for a long answer no more must not wait for its end either."""
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()
            self._process.wait()
            self._process = None


def _root() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def apart(usable: Collection[int], count: int, folder: pathlib.Path = _CPUS) -> set[int]:
    """So many of the processors that may be used, of different cores as far as the system tells: not two threads of one.

    Args:
        usable: numbers of processors.
        count: how many are wanted.
        folder: where Linux tells which ones share a core.
    """
    by_core: dict[str, int] = {}
    for number in sorted(usable):
        try:
            core = (folder / f"cpu{number}/topology/thread_siblings_list").read_text().strip()
        except OSError:
            core = str(number)
        by_core.setdefault(core, number)
    first = list(by_core.values())
    return set([*first, *(number for number in sorted(usable) if number not in first)][:count])


def _requests(stream: Any) -> Iterator[Any]:
    with contextlib.suppress(EOFError):
        while True:
            yield pickle.load(stream)


def main() -> None:
    """Answer what comes in, until nothing does."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, apart(os.sched_getaffinity(0), CORES))
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whoever prints must not print into an answer
    import jax

    jax.config.update("jax_enable_x64", True)
    from benchmarks.gpu import lanes
    from benchmarks.gpu.problems import problem, rolled

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name, settings, precision, columns, free, repeats in _requests(sys.stdin.buffer):
        try:
            solved = lanes.solve(problem(name), settings, precision, columns, free)
            seconds = []
            while len(seconds) < repeats and (len(seconds) < FEWEST or sum(seconds) < MOST):
                fresh = rolled(columns, len(seconds) + 1)
                begin = time.perf_counter()
                lanes.solve_raw(problem(name), settings, precision, fresh, free)
                seconds.append(time.perf_counter() - begin)
            answer: Any = Answer(*solved, tuple(seconds), cores)
        except Exception as error:  # told to who asked
            answer = f"{type(error).__name__}: {error}"
        pickle.dump(answer, out)
        out.flush()
