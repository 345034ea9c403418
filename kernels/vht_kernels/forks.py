"""Processes that were forked from one in which JAX computes: its threads stay behind, and whoever waits for them hangs."""

from __future__ import annotations

import os
import sys

_lost = False


def lost_threads() -> str | None:
    """Why nothing can be computed in this process, and what to do; None if it can."""
    if not _lost:
        return None
    return (
        "this process was forked from one in which JAX had computed, whose threads did not come along, so that it would wait "
        'for them for ever: start processes by `multiprocessing.get_context("spawn")` or "forkserver", which '
        "`ProcessPoolExecutor` takes as `mp_context`, or fork before anything is computed"
    )


def _in_child() -> None:
    global _lost
    # JAX keeps this private, as it does the warning that it gives before a fork; and its question takes a lock, which
    # another thread may have held when the process was forked
    _lost = _lost or bool(getattr(sys.modules.get("jax._src.xla_bridge"), "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
