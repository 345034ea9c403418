"""Compiled kernels on disk, so that the next process does not compile them again.

One file a kernel: a SHA-256 digest of its key and the object file, then the object file. A file is written beside its place
and renamed, so two processes that write at once leave one whole file; a file whose digest is wrong (damaged, or put under
the key of another) counts as absent and is written again. A cache that cannot be written to (read-only, full) costs time,
never a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import sys
import tempfile
import time

_DIGEST_BYTES = 32
_LIMIT_BYTES = 1 << 30
_ABANDONED_SECONDS = 3600  # a file is written in less than a second: one this old has lost its writer


def directory() -> pathlib.Path:
    """Where kernels are kept: ``$VHT_CACHE_DIR``, else ``vht`` in the user's cache folder."""
    chosen = os.environ.get("VHT_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen).expanduser()
    home = pathlib.Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "vht"
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "vht"


def load(key: str) -> bytes | None:
    """The object file kept under a key; None if there is none, or only a damaged one."""
    try:
        path = _path(key)
        content = path.read_bytes()
        digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if _digest(key, code) != digest:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the last use decides what is kept when the folder grows too large
        return code
    except (OSError, RuntimeError, ValueError):  # RuntimeError: no home folder; ValueError: a name that cannot be one
        return None


def store(key: str, code: bytes) -> None:
    """Keep an object file under a key."""
    try:
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(key, code) + code)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _shrink(path.parent)
    except (OSError, RuntimeError, ValueError):
        return


def _digest(key: str, code: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + code).digest()


def _path(key: str) -> pathlib.Path:
    return directory() / "kernels" / f"{key}.o"


def _shrink(folder: pathlib.Path) -> None:
    """Drop the kernels not used for longest once they take more than a gigabyte together, and what dead writers left."""
    for path in folder.glob(".new-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
    kept = []
    for path in folder.glob("*.o"):
        with contextlib.suppress(OSError):  # another process may drop it first
            found = path.stat()
            kept.append((found.st_mtime, found.st_size, path))
    excess = sum(size for _, size, _ in kept) - _LIMIT_BYTES
    for _, size, path in sorted(kept, key=lambda entry: entry[0]):
        if excess <= 0:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        excess -= size
