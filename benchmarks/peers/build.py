"""Compiling a peer on the spot, for this very processor."""

from __future__ import annotations

import atexit
import ctypes
import functools
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

HERE = pathlib.Path(__file__).parent


_SUNDIALS = ("sundials_cvodes", "sundials_nvecserial", "sundials_sunmatrixdense", "sundials_sunlinsoldense")


class Unavailable(Exception):
    """A peer cannot run on this machine; says why."""


class Library(NamedTuple):
    """A compiled source file.

    Attributes:
        code: loaded.
        made_with: compiler and flags, after the versions of libraries that tell theirs.
    """

    code: ctypes.CDLL
    made_with: str


@functools.cache
def _folder() -> pathlib.Path:
    folder = tempfile.mkdtemp(prefix="vht-peers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return pathlib.Path(folder)


def shared_library(
    source: str, compilers: tuple[str, ...], flags: tuple[str, ...], libraries: tuple[tuple[str, ...], ...] = ((),)
) -> Library:
    """Compile a source file of this folder into a library and load it.

    Args:
        source: name of the file.
        compilers: to look for; the first found is used.
        flags: what to compile with.
        libraries: sets of libraries to link with; the first that links is used.

    Raises:
        Unavailable: no compiler, or it did not succeed; holds the first lines of what it said.
    """
    compiler = next(filter(None, map(shutil.which, compilers)), None)
    if compiler is None:
        raise Unavailable(f"no compiler ({' or '.join(compilers)}) on this machine")
    target = _folder() / f"{pathlib.Path(source).stem}{'.dylib' if sys.platform == 'darwin' else '.so'}"
    said = ""
    for linked in libraries:
        command = [compiler, *flags, "-shared", "-fPIC", f"-I{HERE}", str(HERE / source), "-o", str(target)]
        done = subprocess.run([*command, *(f"-l{name}" for name in linked)], capture_output=True, text=True)
        if done.returncode == 0:
            version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.splitlines()
            return Library(ctypes.CDLL(str(target)), f"{version[0] if version else compiler}, {' '.join(flags)}")
        said = done.stderr
    found = [line for line in said.splitlines() if "error" in line or "cannot find" in line] or said.splitlines()
    raise Unavailable(f"{source} did not compile: {' '.join(found[:2]).strip()}")


def with_sundials(*others: str) -> tuple[tuple[str, ...], ...]:
    """Sets of libraries to link CVODES with, and others; from SUNDIALS 7 on its core is a library of its own."""
    linked = (*_SUNDIALS, *others, "m")
    return linked, (*linked, "sundials_core")
