"""Time of a call whose arguments are fresh each time: warm-up and compilation apart, the median of the others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
FEWEST = 3


@dataclass(frozen=True)
class Timed(Generic[T]):
    """A call, timed.

    Attributes:
        result: of the last call.
        last: number of the last call, which its arguments were made for.
        first: seconds of the first call.
        seconds: of the calls after it.
    """

    result: T
    last: int
    first: float
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)


def timed(
    make: Callable[[int], Any],
    call: Callable[[Any], T],
    repeats: int,
    most: float,
    worth: Callable[[T], bool] = lambda _: True,
    compiled: bool = False,
) -> Timed[T]:
    """Call once to warm up, then so many times, with new arguments each time.

    Args:
        make: of a call's number its arguments, ready to be used; not part of the time.
        call: returns when its work is done.
        repeats: how often, at least `FEWEST`.
        most: seconds of all calls together, after which no more than the `FEWEST` are made.
        worth: whether a result is worth more calls; if the first is not, its time is all there is.
        compiled: the first call compiles nothing; where the `FEWEST` would take twice as long as `most`, its time is all there
            is.
    """
    spent = time.perf_counter()
    given = make(0)
    begin = time.perf_counter()
    result = call(given)
    first = time.perf_counter() - begin
    if (compiled and FEWEST * first > 2.0 * most) or not worth(result):
        return Timed(result, 0, first, (first,))
    seconds: list[float] = []
    last = 0
    while len(seconds) < FEWEST or (len(seconds) < repeats and time.perf_counter() - spent < most):
        last += 1
        del result  # or the memory of two results would be held
        given = make(last)
        begin = time.perf_counter()
        result = call(given)
        seconds.append(time.perf_counter() - begin)
    return Timed(result, last, first, tuple(seconds))
