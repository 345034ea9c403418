"""Python's garbage collector, kept from looking again and again through hundreds of thousands of objects that all stay."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_LOCK = threading.Lock()
_pauses, _enabled = 0, False


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """No collections meanwhile, in any thread; as before afterwards.

    Tracing a large model and writing its kernel make objects by the million and next to no garbage: a quarter to a third of
    the time went into collections that found nothing.
    """
    global _pauses, _enabled
    with _LOCK:
        if _pauses == 0:
            _enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _LOCK:
            _pauses -= 1
            if _pauses == 0 and _enabled:
                gc.enable()
