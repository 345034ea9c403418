"""Tables filled up to a few lengths, so that data of a new length meet programs that are compiled already.

A kernel serves tables of every length, but what XLA puts around it is compiled for shapes. +inf among times means that
nothing happens there, so that fill changes no result, not even its rounding.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from vht.solve.given import Given
from vht.solve.schedule import Doses, Schedule, Signal

MULTIPLE = 8
GROWTH = 1.25


def padded_length(length: int) -> int:
    """The length to which a table is filled up: 0, 8, 16, 24, 32, 40, 56, 72, 96, ..., soon growing by a quarter."""
    size = 0
    while size < length:
        size = MULTIPLE * max(size // MULTIPLE + 1, int(size * GROWTH / MULTIPLE + 0.5))
    return size


def padded(given: Given) -> Given:
    """The numbers of a solve with every table filled up; with numbers that a transformation holds as they are."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(given)):
        return given
    schedule = given.schedule
    doses = {
        port: Doses(
            _filled(table.time, np.inf),
            _filled(table.amount, 0.0),
            None if table.duration is None else _filled(table.duration, 0.0),
        )
        for port, table in schedule.doses.items()
    }
    signals = {
        port: Signal(_filled(table.time, np.inf), _filled(table.value, 0.0), table.interpolation)
        for port, table in schedule.signals.items()
    }
    return given._replace(schedule=Schedule(doses, signals), times=_filled(given.times, np.inf))


def _filled(table: Any, fill: float) -> np.ndarray:
    table = np.asarray(table)
    missing = padded_length(table.shape[-1]) - table.shape[-1]
    if missing == 0:
        return table
    return np.concatenate([table, np.full((*table.shape[:-1], missing), fill, table.dtype)], axis=-1)


def shortened(results: Any, saves: int) -> Any:
    """Results with their tables over saves, ``[twins, saves, ...]``, cut to the saves that were asked for."""
    return jax.tree.map(lambda leaf: _cut(leaf, saves), results)


def _cut(leaf: Any, saves: int) -> Any:
    if leaf.ndim < 2 or leaf.shape[1] == saves:
        return leaf
    # NumPy's slice is a view, and compiles nothing
    return (leaf if isinstance(leaf, Tracer) else np.asarray(leaf))[:, :saves]
