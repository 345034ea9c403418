"""Directions of a Jacobian one after another: code for any of them, so that it does not grow with their number.

Where `sensitivity.Augmented` writes out each direction's own code, here one piece of code serves all directions of a kernel:
it moves everything that any of them moves, by numbers that depend on the direction's own number.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int
from vht_kernels import length, read, scratch, write

from vht.solve.sensitivity import EventTangents, Line, Seed
from vht.solve.system import Named, Scalar, System, Values

Index = Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class Directions:
    """What the directions of a kernel move together.

    Attributes:
        system: the model's functions.
        seeds: of the directions, in their order.
    """

    system: System
    seeds: tuple[Seed, ...]

    @functools.cached_property
    def union(self) -> Seed:
        """Whatever any of them moves in the schedule; its parameter and state are left open."""
        return Seed(
            times=any(seed.times for seed in self.seeds),
            amounts=_all(seed.amounts for seed in self.seeds),
            values=_all(seed.values for seed in self.seeds),
            slopes=_all(seed.slopes for seed in self.seeds),
        )

    def own(self, k: Index, p: Named) -> dict[str, Scalar]:
        """How direction `k` moves the parameters that any direction moves."""
        names = dict.fromkeys(seed.parameter for seed in self.seeds if seed.parameter is not None)
        return {name: self._one(k, p[name], lambda seed, n=name: seed.parameter == n) for name in names}

    def _one(self, k: Index, like: Scalar, wanted: Callable[[Seed], bool]) -> Scalar:
        """1 for the directions wanted, else 0."""
        found = jnp.array(False)
        for i, seed in enumerate(self.seeds):
            if wanted(seed):
                found = found | (k == np.int32(i))
        return jnp.where(found, jnp.ones_like(like), jnp.zeros_like(like))

    def initial(self, k: Index, p: Named, given: Named, x: Values) -> Values:
        """The sensitivities at the start."""
        own = self.own(k, p)
        s = [jnp.zeros_like(v) for v in x]
        if own:
            at = {name: p[name] for name in own}
            s = list(jax.jvp(lambda own: self.system.initial({**p, **own}, given), (at,), (own,))[1])
        for j, name in enumerate(self.system.states):
            if any(seed.initial == name for seed in self.seeds):
                s[j] = s[j] + self._one(k, x[j], lambda seed, n=name: seed.initial == n)
        return tuple(s)

    def start(self, k: Index, s: Values, f: Values) -> Values:
        """Sensitivities at the start when the start moves: the states there do not move with it."""
        if not any(seed.start for seed in self.seeds):
            return s
        moves = self._one(k, s[0], lambda seed: seed.start)
        return tuple(si - moves * fi for si, fi in zip(s, f, strict=True))


@dataclasses.dataclass(frozen=True)
class MovedEvents:
    """How each direction moves the events, from tables of all directions one after another.

    Attributes:
        tables: what moves.
        count: number of directions.
        dtype: of the model's numbers.
    """

    tables: EventTangents
    count: int
    dtype: np.dtype

    def _entry(self, table: Array, k: Index, event: Index) -> Scalar:
        stride = lax.div(length(table), np.int32(self.count))
        return read(table, k * stride + event)

    def tau(self, k: Index, event: Index) -> Scalar | None:
        """How direction `k` moves the time of an event; None if none moves any."""
        time = self.tables.time
        return None if time is None else self._entry(time, k, event).astype(self.dtype)

    def amounts(self, k: Index, event: Index) -> dict[str, Scalar]:
        """How direction `k` moves what enters at an event."""
        return {port: self._entry(table, k, event) for port, table in self.tables.amounts.items()}

    def line(self, k: Index, event: Index) -> Line:
        """How direction `k` moves the inputs from an event on."""
        return Line(
            {port: self._entry(table, k, event) for port, table in self.tables.values.items()},
            {port: self._entry(table, k, event) for port, table in self.tables.slopes.items()},
        )

    def first_line(self, k: Index) -> Line:
        """How direction `k` moves the inputs at the start."""
        return Line(
            {port: read(table, k) for port, table in self.tables.start_values.items()},
            {port: read(table, k) for port, table in self.tables.start_slopes.items()},
        )


@dataclasses.dataclass(frozen=True)
class InputLines:
    """A table of how each direction moves the inputs between two events, one after another.

    Attributes:
        ports: whose values any direction moves.
        sloped: whose slopes any direction moves.
    """

    ports: tuple[str, ...]
    sloped: tuple[str, ...]

    @classmethod
    def of(cls, union: Seed) -> InputLines:
        """For what any direction moves."""
        return cls(union.values, union.slopes)

    @property
    def width(self) -> int:
        """Entries a direction."""
        return len(self.ports) + len(self.sloped)

    def empty(self, count: int, dtype: np.dtype) -> Array | None:
        """A table of so many directions; None where no direction moves an input."""
        return scratch(count * self.width, jnp.zeros((), dtype)) if self.width else None

    def write(self, table: Array, k: Index, line: Line) -> Array:
        """The table with another line of direction `k`."""
        values = [*(line.values[port] for port in self.ports), *(line.slopes[port] for port in self.sloped)]
        first = k * np.int32(self.width)
        for j, value in enumerate(values):
            table = write(table, first + np.int32(j), value)
        return table

    def read(self, table: Array | None, k: Index) -> Line:
        """How direction `k` moves the inputs."""
        if table is None:
            return Line({}, {})
        entries = [read(table, k * np.int32(self.width) + np.int32(j)) for j in range(self.width)]
        cut = len(self.ports)
        return Line(
            dict(zip(self.ports, entries[:cut], strict=True)), dict(zip(self.sloped, entries[cut:], strict=True))
        )


def _all(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for part in names for name in part}))
