"""What a record must say about the machine and the software it was made with."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

_PACKAGES = ("vht", "jax", "jaxlib", "diffrax", "equinox", "llvmlite", "numpy", "scipy")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Name of the processor's model, with what the kernel calls it by where the name says little."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in found.items()}
    name = fields.get("model name", platform.machine())
    flags = fields.get("flags", "").split()
    vectors = next((v for v in ("avx512f", "avx2", "avx") if v in flags), "")
    return f"{name} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}, {vectors})"


def _commit() -> str | None:
    here, found = pathlib.Path(__file__).parent, ""
    with contextlib.suppress(OSError):
        told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True)
        found = told.stdout.strip()
    # where the files lie without their history, whoever brought them there may say which they are
    return found or os.environ.get("GIT_COMMIT")


def describe() -> dict[str, Any]:
    """Everything of it, for a record."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": processor(),
        "cores": cores(),
        "memory_gib": _memory(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
