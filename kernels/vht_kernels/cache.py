"""Compiled kernels on disk, so that the next process does not compile them again.

One file a kernel: a SHA-256 digest, then the object file. A file is written beside its place and renamed, so two processes
that write at once leave one whole file; a file whose digest is wrong counts as absent and is written again. A cache that
cannot be written to (read-only, full) costs time, never a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import sys
import tempfile

_DIGEST_BYTES = 32
_LIMIT_BYTES = 1 << 30


def directory() -> pathlib.Path:
    """Where kernels are kept: ``$VHT_CACHE_DIR``, else ``vht`` in the user's cache folder."""
    chosen = os.environ.get("VHT_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen)
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
        if hashlib.sha256(code).digest() != digest:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the last use decides what is kept when the folder grows too large
        return code
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None


def store(key: str, code: bytes) -> None:
    """Keep an object file under a key."""
    try:
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _shrink(path.parent)
    except (OSError, RuntimeError):
        return


def _path(key: str) -> pathlib.Path:
    return directory() / "kernels" / f"{key}.o"


def _shrink(folder: pathlib.Path) -> None:
    """Drop the kernels not used for longest once they take more than a gigabyte together."""
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
