"""Whether results have room in memory: told before they are computed, since a system ends a process that takes too much."""

from __future__ import annotations

import contextlib
import os
import pathlib

from vht.errors import TooLargeError

_GROUPS = pathlib.Path("/sys/fs/cgroup")
_OURS = pathlib.Path("/proc/self/cgroup")


def memory() -> int | None:
    """Bytes that this process may have, by the machine and by the limits that were set; None if that cannot be known."""
    limits = [*_machine(), *_own(), *_groups()]
    return min(limits, default=None)


def result_bytes(saves: int, variables: int, columns: int, itemsize: int) -> int:
    """What one twin's results take; see `check_room`."""
    return saves * variables * (1 + columns) * itemsize


def check_room(twins: int, saves: int, variables: int, columns: int, itemsize: int) -> None:
    """Refuse to compute what cannot be kept.

    Args:
        twins: how many.
        saves: of each.
        variables: that are saved.
        columns: of each variable's Jacobian.
        itemsize: bytes of a number.

    Raises:
        TooLargeError: there is no room for it.
    """
    needed = twins * result_bytes(saves, variables, columns, itemsize)
    # to look takes longer than to solve a small cohort
    if needed < 2**28 or (room := memory()) is None or needed <= room:
        return
    each = "1 variable" if variables == 1 else f"{variables:,} variables"
    slopes = f", derivatives by {columns:,}" if columns else ""
    raise TooLargeError(
        f"The results would take {_told(needed)} ({twins:,} twins, {saves:,} saves, {each}{slopes}), but "
        f"this process may have {_told(room)}: save at fewer times, `observe` fewer variables, or solve some of the twins "
        "at a time and keep what you need of them."
    )


def _told(number: int) -> str:
    return f"{number / 2**30:,.1f} GiB"


def _machine() -> list[int]:
    try:
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):  # not on this system
        return []


def _own() -> list[int]:
    try:
        import resource
    except ImportError:
        return []
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return [] if limit == resource.RLIM_INFINITY else [limit]


def _groups() -> list[int]:
    """Linux' control groups, by which batch systems and containers limit what runs in them."""
    found = []
    try:
        # names of groups may hold any letter but the end of a line, in no encoding
        lines = os.fsdecode(_OURS.read_bytes()).split("\n")
    except OSError:
        return []
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if not controllers:
            home, name = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            home, name = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        inner = home / path.lstrip("/")
        for folder in (inner, *inner.parents):
            with contextlib.suppress(OSError, ValueError):  # none at this place; "max"
                found.append(int((folder / name).read_text()))
            if folder == home:
                break
    return found
