"""Drafts: files and folders that are written under another name, and take their place when they are complete.

At any moment a place holds something whole, or what was there before. There is one exception: where a folder has to stay
(see `is_filled`), entry by entry is moved when the draft is complete. An error in between takes it all back, and signals
wait (see `abandon`); but when the process is killed or the power fails in that instant, some entries are in their place,
hidden ones not yet, and what was there before is in a hidden folder among them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator

# each with the folders above it that were not there, nearest first
_OPEN: dict[pathlib.Path, list[pathlib.Path]] = {}
# held while a draft is begun, put in its place or cleared away
_LOCK = threading.RLock()
_PLACED: list[pathlib.Path] = []


class KeptError(Exception):
    """A draft is complete and cannot take its place; the cause says why.

    Attributes:
        place: where it is instead.
    """

    def __init__(self, place: pathlib.Path) -> None:
        super().__init__(str(place))
        self.place = place


def is_filled(path: pathlib.Path) -> bool:
    """Whether a folder is there that has to stay, so that a draft lies in it, and in the end its entries are moved up.

    It is empty, a mount point, what the working directory lies in, or in a folder that cannot be written.

    Args:
        path: with no links in it.

    Raises:
        OSError: it cannot be looked at.
    """
    if not path.is_dir():
        return False
    with contextlib.suppress(FileNotFoundError):  # the working directory may be gone
        if pathlib.Path.cwd().is_relative_to(path):
            return True
    return os.path.ismount(path) or not os.access(path.parent, os.W_OK) or not any(path.iterdir())


@contextlib.contextmanager
def draft(
    path: pathlib.Path, *, check: Callable[[pathlib.Path], None] | None = None, keep: bool = False
) -> Iterator[pathlib.Path]:
    """A name to make a file or a folder under; it takes its place when the block ends well, and is gone when it does not.

    Args:
        path: the place, with no links in it. A file that is there is replaced by a file, a folder by a folder.
        check: raises an error if a folder may not be replaced that is there when the draft is complete; it is given the
            folder, which may have been moved aside. By default it must be empty. The draft itself may be in it.
        keep: whether a complete draft that cannot take its place is kept beside, under a name with a number.

    Yields:
        The name, which is in the same folder, or in the folder that is there (see `is_filled`); nothing is there yet.

    Raises:
        KeptError: with `keep`: it could not take its place.
        OSError: it cannot take its place.
    """
    home = path if is_filled(path) else path.parent
    new = home / f".{path.name}.{uuid.uuid4().hex[:8]}"
    with _LOCK:
        _OPEN[new] = [folder for folder in path.parents if not folder.exists()]
    old = home / f"{new.name}.old"
    try:
        yield new
        with _LOCK:
            try:
                _place(new, path, old, check or (lambda folder: _check_empty(folder, new)))
            except Exception as error:
                if not keep:
                    raise
                raise KeptError(_keep(new, path)) from error
            del _OPEN[new]
            _OPEN[old] = []
            _PLACED.append(path)
    except KeptError:
        raise
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


def _check_empty(folder: pathlib.Path, new: pathlib.Path) -> None:
    if set(folder.iterdir()) - {new}:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))


def _place(new: pathlib.Path, path: pathlib.Path, old: pathlib.Path, check: Callable[[pathlib.Path], None]) -> None:
    if not (new.is_dir() and path.is_dir()):
        new.replace(path)  # an error where one is a folder and the other is not
        return
    check(path)
    if new.parent == path:
        _move_up(new, path, old, check)
        return
    try:
        path.rename(old)
        check(old)  # what came into it since; from now on nobody finds it
        new.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise


def _move_up(new: pathlib.Path, path: pathlib.Path, old: pathlib.Path, check: Callable[[pathlib.Path], None]) -> None:
    moved: list[tuple[pathlib.Path, pathlib.Path]] = []

    def move(entry: pathlib.Path, folder: pathlib.Path) -> None:
        target = folder / entry.name
        if os.path.lexists(target):  # it came since the check
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        entry.rename(target)
        moved.append((entry, target))

    def last(entry: pathlib.Path) -> tuple[bool, bool]:
        # what is hidden marks what is complete; that a folder is moved onto another one no system allows
        return entry.name.startswith("."), not entry.is_dir()

    old.mkdir()
    try:
        for entry in sorted(set(path.iterdir()) - {new, old}, key=last, reverse=True):
            move(entry, old)
        check(old)
        for entry in sorted(new.iterdir(), key=last):
            move(entry, path)
    except BaseException:
        with contextlib.suppress(OSError):
            for entry, target in reversed(moved):
                target.rename(entry)
            old.rmdir()
        raise
    with contextlib.suppress(OSError):
        new.rmdir()


def _keep(new: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """Give a draft a name that can be seen, if the system lets us; the name that it has then."""
    _OPEN.pop(new)
    number = 2
    while os.path.lexists(kept := new.parent / f"{path.name}-{number}"):
        number += 1
    try:
        new.rename(kept)
    except OSError:
        kept = new
    _PLACED.append(kept)
    return kept


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
