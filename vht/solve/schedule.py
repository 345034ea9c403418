"""What happens to a twin from outside: doses, infusions and measured inputs, as data.

A schedule is merged, per twin, into one list of events in order of time. An event says what each scheduled input is from
then on (a value and a slope) and which amount enters at that instant, so that the solve only walks down the list.
Everything here is plain JAX: the derivative of an event list with respect to times, amounts and durations is `jax.jvp` of
`event_list`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from vht.model.real import real_numbers

Interpolation = Literal["linear", "hold"]
# times among so few others find their place by comparing with all of them
FEW = 32


def listed(values: Any) -> Any:
    """A list with a transformation's numbers in it becomes one of its arrays; all else stays."""
    inside = isinstance(values, list | tuple) and any(isinstance(v, Tracer) for v in jax.tree.leaves(values))
    return jnp.asarray(values) if inside else values


def _as_array(values: Any) -> Any:
    """Lists become arrays; whatever else a transformation puts in a leaf's place stays."""
    values = listed(values)
    if not isinstance(values, list | tuple):
        return values
    try:
        return real_numbers("table", values)
    except ValueError as error:
        raise ValueError(
            f"A table holds numbers, in rows of one length (+inf among the times fills up short ones), but got {values!r}."
        ) from error


class Doses(eqx.Module):
    """Amounts given into one input port, at once or as infusions.

    An amount has the port's unit multiplied by time (mg into a port in mg/h). It arrives at `time` plus the port's lag
    parameter, if the port has one. A bolus moves the states by the rates' slope in the port times the amount: it is meant
    for ports in which the rates are linear, and refused where they compare the port with something.

    Attributes:
        time: when each dose is given, ``[doses]`` for all twins alike or ``[twins, doses]``; +inf fills up short rows.
        amount: how much, same shape.
        duration: over how long, same shape, finite; 0 is a bolus. None means that every dose is a bolus. The derivative with
            respect to a duration of 0 is given as 0: ask for it at a small positive one. Of what runs at the same time in the
            same port, a dose so short that its rate is 1e10 times as large takes all but six digits.

    Raises:
        ValueError: lists of something else than numbers, or rows of different lengths.
    """

    time: Shaped[ArrayLike, "... _doses"] = eqx.field(converter=_as_array)
    amount: Shaped[ArrayLike, "... _doses"] = eqx.field(converter=_as_array)
    duration: Shaped[ArrayLike, "... _doses"] | None = eqx.field(converter=_as_array, default=None)


class Signal(eqx.Module):
    """Measured values that an input port follows; the first and the last value are held before and after.

    Steps land on every value: a solve takes at least one for each, which `max_steps` of the method must allow. Lengths are
    filled up to a few ones, so that few are compiled for.

    Attributes:
        time: of each value, ``[values]`` or ``[twins, values]``, at least one; +inf fills up short rows.
        value: in the port's unit, same shape.
        interpolation: "linear" between values, or "hold" each value until the next. Two values at one time are a jump.

    Raises:
        ValueError: an unknown interpolation; lists of something else than numbers, or rows of different lengths.
    """

    time: Shaped[ArrayLike, "... _values"] = eqx.field(converter=_as_array)
    value: Shaped[ArrayLike, "... _values"] = eqx.field(converter=_as_array)
    interpolation: Interpolation = eqx.field(static=True, default="linear")

    def __check_init__(self) -> None:
        if self.interpolation not in ("linear", "hold"):
            raise ValueError(f'`interpolation` must be "linear" or "hold", but got {self.interpolation!r}.')


class Schedule(eqx.Module):
    """Doses and measured inputs by the name of the input port. A port may have both: they add up.

    A bolus before the start of a solve is part of the past that made the initial state, and does nothing. Infusions that
    still run and values that still hold at the start act from the start on. A bolus at the start is given after the
    initial state is saved: a solve cut in two gives the same as one.

    Attributes:
        doses: by port.
        signals: by port.
    """

    doses: Mapping[str, Doses] = eqx.field(default_factory=dict)
    signals: Mapping[str, Signal] = eqx.field(default_factory=dict)


class Events(NamedTuple):
    """One twin's merged schedule.

    Attributes:
        first: index of the first event at or after the start.
        time: of each event, nondecreasing; +inf where there is none.
        amounts: by port, what enters at once at each event.
        values: by port, the input from each event on.
        slopes: by port with a linear signal, how the input changes per time from each event on.
        start_values: by port, the input at the start, before events at that very time.
        start_slopes: by port with a linear signal, its slope there.
    """

    first: Int[Array, ""]
    time: Float[Array, " events"]
    amounts: dict[str, Float[Array, " events"]]
    values: dict[str, Float[Array, " events"]]
    slopes: dict[str, Float[Array, " events"]]
    start_values: dict[str, Float[Array, ""]]
    start_slopes: dict[str, Float[Array, ""]]


class Merged(NamedTuple):
    """One twin's merged schedule, whenever its solve starts.

    Attributes:
        time: of each event, nondecreasing; +inf where there is none.
        amounts: by port, what enters at once at each event.
        values: by port, the input from each event on.
        slopes: by port with a linear signal, how the input changes per time from each event on.
        before: by port, the input before all events.
    """

    time: Float[Array, " events"]
    amounts: dict[str, Float[Array, " events"]]
    values: dict[str, Float[Array, " events"]]
    slopes: dict[str, Float[Array, " events"]]
    before: dict[str, Float[Array, ""]]


def event_list(
    schedule: Schedule, lags: Mapping[str, Float[Array, ""]], start: Float[Array, ""], ordered: Collection[str] = ()
) -> Events | None:
    """Merge one twin's schedule into its list of events.

    Args:
        schedule: with arrays of one axis, one twin's.
        lags: by port, what delays its doses.
        start: time from which events count.
        ordered: ports whose signals are known to be in order of time.

    Returns:
        The events, or None if nothing is scheduled.
    """
    merged = merge(schedule, lags, ordered)
    if merged is None:
        return None
    first, values, slopes = start_of(merged, start)
    return Events(first, merged.time, merged.amounts, merged.values, merged.slopes, values, slopes)


def merge(schedule: Schedule, lags: Mapping[str, Float[Array, ""]], ordered: Collection[str] = ()) -> Merged | None:
    """`event_list` as far as it does not depend on the start."""
    signals = {port: signal if port in ordered else _sorted_signal(signal) for port, signal in schedule.signals.items()}
    # Streams: what can happen, kind by kind. Merging keeps this order among events at one time.
    long = {("signal", port): jnp.asarray(signal.time) for port, signal in signals.items()}
    short: dict[tuple[str, str], Float[Array, " n"]] = {}
    lasting: dict[str, Float[Array, " n"]] = {}
    for port, doses in schedule.doses.items():
        arrivals = short["dose", port] = jnp.asarray(doses.time) + lags.get(port, 0.0)
        if doses.duration is not None:
            end = arrivals + jnp.asarray(doses.duration)
            # as the clock sees it, rounded: so that rate times length is the amount, far from time 0 as well
            # one that never ends would give nothing at any time: let the twin fail instead
            lasting[port] = jnp.where(arrivals < jnp.inf, jnp.where(end < jnp.inf, end - arrivals, jnp.nan), 0.0)
            short["end", port] = jnp.where(_infused(lasting[port]), end, jnp.inf)
    if not long and not short:
        return None
    order = _merging_order(list(long.values()), list(short.values()))
    streams = long | short
    times = jnp.concatenate(list(streams.values()))
    time = times if order is None else times[order]
    # A time that is not a number (an impossible lag) would sort to the end and never happen: let the twin fail instead
    time = jnp.where(jnp.isnan(times).any(), jnp.nan, time)

    source: dict[tuple[str, str], Int[Array, " events"]] = {}
    mine: dict[tuple[str, str], Bool[Array, " events"]] = {}
    if order is not None:
        offsets = np.cumsum([0, *(len(s) for s in streams.values())], dtype=np.int32)
        source = {key: order - offset for key, offset in zip(streams, offsets[:-1], strict=True)}
        mine = {key: (index >= 0) & (index < len(streams[key])) for key, index in source.items()}

    amounts, values, slopes, before = {}, {}, {}, {}
    for port, doses in schedule.doses.items():
        amount = jnp.asarray(doses.amount)
        bolus = amount
        if doses.duration is not None:
            infused = _infused(lasting[port])
            bolus = jnp.where(infused, 0.0, amount)
            rate = jnp.where(infused, amount / jnp.where(infused, lasting[port], 1.0), 0.0)
            begins = _entries(rate, source["dose", port], mine["dose", port])
            ends = _entries(rate, source["end", port], mine["end", port])
            running = _entries(infused, source["dose", port], mine["dose", port]).astype(np.int32)
            running = jnp.cumsum(running - _entries(infused, source["end", port], mine["end", port]).astype(np.int32))
            # exactly zero again when nothing runs any more, whatever the rounding of the sum
            values[port] = jnp.where(running > 0, jnp.cumsum(begins - ends), 0.0)
            before[port] = jnp.zeros((), values[port].dtype)
        amounts[port] = _entries(bolus, source["dose", port], mine["dose", port])
    for port, signal in signals.items():
        first, value, slope = _knots(signal)
        if order is not None:
            held = lax.cummax(jnp.where(mine["signal", port], source["signal", port], np.int32(-1)))
            value, slope = _held(signal, value, slope, held, time)
        values[port] = values.get(port, 0.0) + value
        before[port] = before.get(port, 0.0) + first
        if signal.interpolation == "linear":
            slopes[port] = slope
    return Merged(time, amounts, values, slopes, before)


def start_of(
    merged: Merged, start: Float[Array, ""]
) -> tuple[Int[Array, ""], dict[str, Float[Array, ""]], dict[str, Float[Array, ""]]]:
    """Number of the first event from the start on; inputs at the start and their slopes."""
    time, _, values, slopes, before = merged
    first = jnp.sum(time < start, dtype=np.int32)
    if time.shape[0] == 0:
        return first, dict(before), {port: jnp.zeros((), slope.dtype) for port, slope in slopes.items()}
    some, last = first > 0, jnp.maximum(first - np.int32(1), 0)
    elapsed = jnp.where(some & jnp.isfinite(time[last]), start - time[last], 0.0)
    start_slopes = {port: jnp.where(some, slope[last], 0.0) for port, slope in slopes.items()}
    start_values = {
        port: jnp.where(some, value[last], before[port]) + (start_slopes[port] * elapsed if port in slopes else 0.0)
        for port, value in values.items()
    }
    return first, start_values, start_slopes


def _merging_order(long: Sequence[Array], short: Sequence[Array]) -> Int[Array, " events"] | None:
    """The stable order of the streams' times, one after another; None if it is that in which they stand.

    Args:
        long: times in order, each.
        short: times in any order. They are sorted, which takes XLA ten times as long per entry as finding their places
            among the long ones.
    """
    parts, entries, offset = [*long], [], 0
    for times in long:
        entries.append(jnp.arange(offset, offset + len(times), dtype=np.int32))
        offset += len(times)
    if short:
        times = jnp.concatenate(list(short))
        order = jnp.argsort(times, stable=True).astype(np.int32)
        parts.append(times[order])
        entries.append(order + np.int32(offset))
    if len(parts) == 1:
        return entries[0] if short else None
    parts = [lax.stop_gradient(part) for part in parts]
    places = []
    for i, part in enumerate(parts):
        place = jnp.arange(len(part), dtype=np.int32)
        for j, other in enumerate(parts):
            if j != i:
                method = "compare_all" if len(other) <= FEW else "scan"
                # of events at one time those of the earlier stream come first
                passed = jnp.searchsorted(other, part, side="right" if j < i else "left", method=method)
                place = place + passed.astype(np.int32)
        places.append(place)
    entries, places = jnp.concatenate(entries), jnp.concatenate(places)
    return jnp.zeros_like(entries).at[places].set(entries, mode="drop")


def unless_late(start: Float[Array, ""], times: Float[Array, " saves"]) -> Float[Array, ""]:
    """A twin's start; NaN if the times of its saves decrease or lie before it."""
    return jnp.where(jnp.any(times[1:] < times[:-1]) | jnp.any(times[:1] < start), jnp.nan, start)


def _infused(lasting: Float[Array, " n"]) -> Bool[Array, " n"]:
    """Which doses are infusions: NaN is one as well, so that the twin fails."""
    return ~(lasting <= 0.0)


def _sorted_signal(signal: Signal) -> Signal:
    time, value = jnp.asarray(signal.time), jnp.asarray(signal.value)
    order = jnp.argsort(time, stable=True)
    return Signal(time[order], value[order], signal.interpolation)


def _entries(table: Array, index: Int[Array, " events"], mine: Array) -> Array:
    """The stream's entry at each of its events, 0 (or False) at the events of others."""
    if table.shape[0] == 0:
        return jnp.zeros(index.shape, table.dtype)
    picked = table[jnp.clip(index, 0, table.shape[0] - 1)]
    return jnp.where(mine, picked, jnp.zeros_like(picked))


def _knots(signal: Signal) -> tuple[Array, Array, Array]:
    """The value before the first knot, and value and slope from each knot on."""
    knots, values = jnp.asarray(signal.time), jnp.asarray(signal.value)
    if knots.shape[0] == 0:
        return jnp.full((), jnp.nan), values, values
    # a row of fill alone measured nothing: no value, rather than whatever the fill holds
    values = jnp.where(jnp.isinf(knots[0]), jnp.nan, values)
    if signal.interpolation == "hold":
        return values[0], values, jnp.zeros_like(values)
    gap = knots[1:] - knots[:-1]
    rising = (gap > 0.0) & (gap < jnp.inf)
    slopes = jnp.where(rising, (values[1:] - values[:-1]) / jnp.where(rising, gap, 1.0), 0.0)
    return values[0], values, jnp.concatenate([slopes, jnp.zeros_like(values[:1])])


def _held(
    signal: Signal, value: Array, slope: Array, held: Int[Array, " events"], time: Float[Array, " events"]
) -> tuple[Array, Array]:
    """Value and slope at events, of which each has passed the knot `held` (-1: none yet) last."""
    knots = jnp.asarray(signal.time)
    if knots.shape[0] == 0:
        missing = jnp.full(held.shape, jnp.nan)
        return missing, missing
    here = jnp.maximum(held, 0)
    value = value[here]
    if signal.interpolation == "hold":
        return value, jnp.zeros_like(value)
    slope = jnp.where(held < 0, 0.0, slope[here])
    elapsed = jnp.where((held >= 0) & (time < jnp.inf) & jnp.isfinite(knots[here]), time - knots[here], 0.0)
    return value + slope * elapsed, slope
