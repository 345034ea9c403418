"""Timing a call: the first one apart, the median of the others, and the memory it took."""

from __future__ import annotations

import contextlib
import pathlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_STATUS, _CLEAR = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measured(Generic[T]):
    """A call, measured.

    Attributes:
        result: of the last call.
        first: seconds of the first call, where whatever is compiled is compiled.
        seconds: of the calls after it.
        memory: most memory during the calls after the first beyond that before them, MiB; None where the system does not
            tell.
    """

    result: T
    first: float
    seconds: tuple[float, ...]
    memory: float | None

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)

    @property
    def compile_seconds(self) -> float:
        """What the first call took longer than the others."""
        return max(self.first - self.median, 0.0)


def measure(call: Callable[[], T], repeats: int) -> Measured[T]:
    """Call once to compile and warm up, then so many times.

    Args:
        call: returns when its work is done.
        repeats: at least 1.
    """
    begin = time.perf_counter()
    result = call()
    first = time.perf_counter() - begin
    before = _restart_memory_peak()
    seconds = []
    for _ in range(repeats):
        del result  # or the memory of two results would be measured
        begin = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - begin)
    peak = _memory("VmHWM")
    memory = None if before is None or peak is None else max(peak - before, 0.0)
    return Measured(result, first, tuple(seconds), memory)


def peak_memory(call: Callable[[], T]) -> tuple[T, float | None]:
    """Call once; what it returned, and the most memory during it beyond that before, MiB (None if the system does not tell)."""
    before = _restart_memory_peak()
    result = call()
    peak = _memory("VmHWM")
    return result, None if before is None or peak is None else max(peak - before, 0.0)


def _restart_memory_peak() -> float | None:
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
        return _memory("VmRSS")
    return None


def _memory(field: str) -> float | None:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return None
