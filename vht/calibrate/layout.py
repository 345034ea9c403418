"""Measurements laid out for a batch: one padded row per twin, whatever each twin's own times and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Layout:
    """Every twin's measurements, sorted by time and padded to the longest row.

    Attributes:
        value: measured values, 0 where padded.
        sd: their own standard deviations, NaN where the noise model gives it.
        observable: index of each measurement's observable.
        used: False where padded.
        row: position in the table the layout was made from, -1 where padded.
        save: index into `times` of each measurement's time.
        times: each twin's different measurement times, ascending; the last repeated as padding.
        observables: how many observables there are.
    """

    value: Float[np.ndarray, "twins rows"]
    sd: Float[np.ndarray, "twins rows"]
    observable: Int[np.ndarray, "twins rows"]
    used: Bool[np.ndarray, "twins rows"]
    row: Int[np.ndarray, "twins rows"]
    save: Int[np.ndarray, "twins rows"]
    times: Float[np.ndarray, "twins saves"]
    observables: int

    @property
    def twins(self) -> int:
        """How many twins."""
        return self.value.shape[0]

    def count(self) -> Int[np.ndarray, "twins observables"]:
        """How many measurements each twin has of each observable."""
        return self.used_of().sum(axis=2).T

    def used_of(self) -> Bool[np.ndarray, "observables twins rows"]:
        """Which rows hold each observable."""
        return np.stack([self.used & (self.observable == o) for o in range(self.observables)])

    def scale(self) -> Float[np.ndarray, "twins observables"]:
        """Root mean square of each twin's measured values, for each observable."""
        of = self.used_of()
        total = np.where(of, self.value**2, 0.0).sum(axis=2)
        return np.sqrt(total / np.maximum(of.sum(axis=2), 1)).T

    def take(self, twins: Int[np.ndarray, " some"]) -> Layout:
        """The layout of some twins, in the order given."""
        return Layout(
            value=self.value[twins],
            sd=self.sd[twins],
            observable=self.observable[twins],
            used=self.used[twins],
            row=self.row[twins],
            save=self.save[twins],
            times=self.times[twins],
            observables=self.observables,
        )


def lay_out(
    twin: Int[np.ndarray, " m"],
    time: Float[np.ndarray, " m"],
    observable: Int[np.ndarray, " m"],
    value: Float[np.ndarray, " m"],
    sd: Float[np.ndarray, " m"],
    *,
    twins: int,
    observables: int,
) -> Layout:
    """Lay a long table out by twin.

    Args:
        twin: index of each measurement's twin, in ``[0, twins)``.
        time: its time.
        observable: index of its observable, in ``[0, observables)``.
        value: the measured value.
        sd: its standard deviation, NaN where the noise model gives it.
        twins: how many twins there are, with or without measurements.
        observables: how many observables there are.

    Returns:
        The layout; a twin without measurements has only padding and the time 0.
    """
    order = np.lexsort((observable, time, twin))
    owner, at = twin[order], time[order]
    count = np.bincount(twin, minlength=twins) if twin.size else np.zeros(twins, int)
    first = np.cumsum(count) - count
    slot = np.arange(order.size) - first[owner]

    fresh = np.ones(order.size, bool)
    fresh[1:] = (owner[1:] != owner[:-1]) | (at[1:] != at[:-1])
    number = np.cumsum(fresh) - 1
    start = np.concatenate([number, [0]])[np.minimum(first, order.size)]
    save = number - start[owner]

    rows = max(int(count.max(initial=0)), 1)
    saves = max(int(save.max(initial=0)) + 1, 1)
    shape = (twins, rows)

    def spread(values: np.ndarray, fill: float | bool, dtype: type) -> np.ndarray:
        out = np.full(shape, fill, dtype)
        out[owner, slot] = values
        return out

    times = np.full((twins, saves), -np.inf)
    times[owner, save] = at
    # times ascend along a row, so the running maximum repeats the last one into the padding
    times = np.maximum.accumulate(times, axis=1)
    return Layout(
        value=spread(value[order], 0.0, float),
        sd=spread(sd[order], np.nan, float),
        observable=spread(observable[order], 0, int),
        used=spread(np.ones(order.size, bool), False, bool),
        row=spread(order, -1, int),
        save=spread(save, 0, int),
        times=np.where(np.isfinite(times), times, 0.0),
        observables=observables,
    )
