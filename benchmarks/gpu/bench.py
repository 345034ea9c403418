"""One run: the device, the time left, and what was found so far, written down after each case."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.gpu.device import Limits
from benchmarks.gpu.worker import Worker
from benchmarks.peers.build import Unavailable

Row = dict[str, Any]
RECORD = "the record"


class OutOfTime(Exception):
    """The time given is spent, or what is left would not be enough; says so."""


@dataclass(eq=False)
class Bench:
    """A run.

    Attributes:
        limits: of the GPU; None on the CPU.
        deadline: of the whole run, in `time.monotonic`'s seconds.
        write: keeps what was found so far.
        say: tells what is going on.
        worker: the CPU lanes.
        rows: by table.
        not_run: what the time did not suffice for.
        unavailable: what cannot be run here, and why.
        failed: what failed, and what it said.
        traces: of what failed, where.
        truths: what the CPU lanes said of an ensemble, by the ensemble.
        told: seconds of the whole of a row's measurement, by row's kind: what a larger one will take follows.
    """

    limits: Limits | None
    deadline: float
    write: Callable[[Bench], None]
    say: Callable[[str], None]
    worker: Worker = field(default_factory=Worker)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)
    truths: dict[Any, Any] = field(default_factory=dict)
    told: dict[Any, tuple[int, float]] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Or on the CPU, to see that all works."""
        return self.limits is not None

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def attempt(
        self, table: str, label: str, measure: Callable[[], Row], kind: Any = None, size: int = 0, calls: int = 4
    ) -> Row | None:
        """Measure a row and keep it; what goes wrong is kept too, and nothing else is stopped by it.

        Args:
            table: where the row goes.
            label: of the row, in messages.
            measure: gives it.
            kind: of rows that take time in proportion to their size.
            size: of this one.
            calls: that a measurement makes at least.
        """
        found: Row | None = None
        try:
            self._has_time(kind, size, calls)
            self.say(label)
            found = measure()
            self.rows.setdefault(table, []).append(found)
            if kind is not None and found.get("seconds"):
                self.told[kind] = size, found["seconds"]
        except Unavailable as error:
            self.unavailable[label] = str(error)
        except OutOfTime as error:
            self.not_run[label] = str(error)
        except Exception as error:  # a part that fails is a result too
            self.fail(label, error)
        except BaseException:
            self.not_run[label] = "stopped before it was done"
            raise
        self.keep()
        return found

    def within(self, seconds: float) -> float:
        """So many seconds of repeats, or what is left of the run's, which they must not outlast."""
        return min(seconds, max(self.left, 0.0))

    def keep(self) -> None:
        """Write down what was found so far; a disk that takes no more stops no measurement."""
        for told in (self.failed, self.traces):
            told.pop(RECORD, None)
        try:
            self.write(self)
        except OSError as error:
            self.fail(RECORD, error)

    def optional(self, label: str, find: Callable[[], Row]) -> Row:
        """Further fields of a row; without them, and with a word on why, if they cannot be had: its time is kept."""
        try:
            return find()
        except Exception as error:
            self.fail(label, error)
            return {}

    def fail(self, label: str, error: Exception) -> None:
        """Keep what an error says, and where it came from."""
        said = f"{type(error).__name__}: {error}".strip()
        self.failed[label] = said[:2000]
        self.traces[label] = "".join(traceback.format_exception(error))[-4000:]
        self.say(f"{label}: {said[:300]}")
        if not str(error):
            self.say(self.traces[label])

    def _has_time(self, kind: Any, size: int, calls: int) -> None:
        if self.left <= 0.0:
            raise OutOfTime("the time given was spent")
        if kind in self.told:
            before, seconds = self.told[kind]
            expected = seconds * size / before * calls
            if size >= before and expected > self.left:
                raise OutOfTime(f"would take {expected:.0f} s, with {max(self.left, 0.0):.0f} s left")
