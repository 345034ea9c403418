"""Work in threads, beside a caller's thread that alone does what must not leave it.

NumPy computes in several threads at once; the solver fills the whole device, and JAX's contexts (``jax.default_device``) hold
in the thread that entered them. So each thread asks the caller's for its solves, which is where Ctrl-C arrives, too.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

Here = Callable[..., Any]
"""``(function, *arguments)``: the function's result, computed in the caller's thread."""


def side_by_side(jobs: Sequence[Callable[[Here], Result]], threads: int) -> list[Result]:
    """The results of some jobs, in order.

    Args:
        jobs: each is called with what computes in the caller's thread.
        threads: jobs at work at a time; with one, all is done in the caller's thread.

    Returns:
        What each job returns.

    Raises:
        BaseException: what the first job to fail raised, or a function in the caller's thread, or Ctrl-C. Other jobs that ask
            for something are told that they are cancelled.
    """
    threads = min(threads, len(jobs))
    if threads <= 1:
        return [job(_at_once) for job in jobs]
    desk = _Desk()
    with ThreadPoolExecutor(threads, "vht-calibrate") as pool:
        try:
            # such as how the caller wants NumPy to take overflow
            found = [pool.submit(contextvars.copy_context().run, job, desk.ask) for job in jobs]
            for future in found:
                future.add_done_callback(desk.tell)
            for _ in found:
                desk.serve_until_one_ends()
        except BaseException:
            desk.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in found]


def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class _Desk:
    """Where threads leave what the caller's thread is to do."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # until they are answered, wherever Ctrl-C finds the caller's thread
        self._open: set[Future[Any]] = set()
        self._lock, self._closed = threading.Lock(), False

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        answer: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise CancelledError
            self._open.add(answer)
        self._waiting.put((answer, function, arguments))
        try:
            return answer.result()
        finally:
            with self._lock:
                self._open.discard(answer)

    def tell(self, ended: Future[Any]) -> None:
        self._waiting.put(ended)

    def serve_until_one_ends(self) -> None:
        while not isinstance(wanted := self._waiting.get(), Future):
            answer, function, arguments = wanted
            answer.set_result(function(*arguments))
            del wanted, answer, arguments  # large, while it waits
        wanted.result()

    def close(self) -> None:
        with self._lock:
            self._closed, left = True, set(self._open)
        for answer in left:
            answer.cancel()
