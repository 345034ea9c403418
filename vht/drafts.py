"""Drafts: files and folders that are written under another name, and take their place when they are complete.

At any moment a place holds something whole, or what was there before.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import threading
import uuid
from collections.abc import Iterator

# each with the folders above it that were not there, nearest first
_OPEN: dict[pathlib.Path, list[pathlib.Path]] = {}
# held while a draft is begun, put in its place or cleared away
_LOCK = threading.RLock()
_PLACED: list[pathlib.Path] = []


@contextlib.contextmanager
def draft(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name to make a file or a folder under; it takes its place when the block ends well, and is gone when it does not.

    Args:
        path: the place, with no links in it. What is there is replaced, if it is of the same kind.

    Yields:
        The name, which is in the same folder; nothing is there yet.
    """
    new = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}"
    with _LOCK:
        _OPEN[new] = [folder for folder in path.parents if not folder.exists()]
    old = path.parent / f"{new.name}.old"
    try:
        yield new
        with _LOCK:
            _replace(new, path, old)
            del _OPEN[new]
            _OPEN[old] = []
            _PLACED.append(path)
    except BaseException:
        with _LOCK:
            _clear(new)
        raise
    _clear(old)


def abandon() -> tuple[pathlib.Path, ...]:
    """Clear all drafts away, just before the process is ended: threads that are at work on one stand still from here on.

    Returns:
        What had taken its place before, and stays.
    """
    _LOCK.acquire()
    for new in reversed(list(_OPEN)):
        _clear(new)
    return tuple(_PLACED)


def _replace(new: pathlib.Path, path: pathlib.Path, old: pathlib.Path) -> None:
    if not (new.is_dir() and path.is_dir()):
        new.replace(path)  # an error where one is a folder and the other is not
        return
    try:
        path.rename(old)
        new.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise


def _clear(new: pathlib.Path) -> None:
    for _ in range(20):  # a thread that is not stopped may still write
        if new.is_dir():
            shutil.rmtree(new, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                new.unlink()
        if not os.path.lexists(new):
            break
    for folder in _OPEN.pop(new, ()):
        with contextlib.suppress(OSError):
            folder.rmdir()
