"""A cohort slice by slice: how many twins go together, and how slices overlap on devices that work while we prepare.

On a GPU the next slice's numbers go to the device, and its kernel is queued, while one slice is computed and the results of the
one before come back; several GPUs take a slice each in turn. On the processor, whose cores one slice already fills, one is
solved after another.
"""

from __future__ import annotations

import collections
import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from vht.solve.device import alone_on

# slices that a device holds at once: one computed, and the one before or after it on its way
IN_FLIGHT = 2
# what one slice takes for each byte of its inputs and results: XLA may hold a table twice, as it is given and with its axes
# in the order that the kernel wants
COPIES = 2
# of the memory that is free; the rest is left to what kernels need besides, and to gaps between arrays
SHARE = 0.8
# twins that keep one GPU busy: with fewer, a second one gains nothing
FULL = 2**15


def in_slices(
    compute: Callable[[int, Any], Any],
    rows: Callable[[np.ndarray], Any],
    total: int,
    size: int,
    *,
    devices: Sequence[Any] = (),
    collect: Callable[[Any], Any] = lambda results: on_host(results),
    order: Callable[[np.ndarray], np.ndarray] = lambda rows: rows,
    learn: Callable[[np.ndarray, Any], object] = lambda rows, results: None,
    progress: Callable[[int, int], object] | None = None,
) -> Any:
    """Compute slice after slice; all have one shape, so that one program serves them.

    Args:
        compute: starts a slice, given its number of twins and their numbers; need not wait for its results, arrays
            ``[twins, ...]``.
        rows: the numbers of some twins, given their indices.
        total: twins.
        size: twins in a slice, at least 1.
        devices: where slices go in turn, overlapping; the numbers are put there. None of them: one slice after another,
            wherever `compute` puts it.
        collect: results on the host, of a slice that was started; waits for it.
        order: the twins of a slice in the order in which to compute them; the very array if that is the caller's order.
        learn: hears of a slice's twins, in that order, and their results, before later slices are put in order.
        progress: called with the twins done and their total after each slice, in order.

    Returns:
        What `compute` gives, for all twins, on the host.

    Raises:
        jax.errors.JaxRuntimeError: what a device says. Only where its memory was too small, and devices are given, slices
            half the size are tried, down to single twins.
    """
    most, told = max(1, IN_FLIGHT * len(devices)), False
    started: collections.deque[Any] = collections.deque()
    done, begin, size, results = 0, 0, min(size, total), None
    while done < total:
        try:
            while begin < total and len(started) < most:
                device = devices[begin // size % len(devices)] if devices else None
                # the last slice is filled up with copies of the last twin
                these = np.minimum(np.arange(begin, begin + size), total - 1)
                ordered = order(these)
                started.append((ordered, ordered is these, _start(compute, size, rows(ordered), device)))
                begin += size
            ordered, plain, pending = started.popleft()
            found = collect(pending)
        except jax.errors.JaxRuntimeError as error:
            if not devices or size == 1 or not out_of_memory(error):
                raise
            # what else has been started is given up with it: it took the memory that was wanting
            started.clear()
            half = -(-size // 2)
            if not told:
                warnings.warn(
                    f"The memory of {devices[0].device_kind} is too small for {size} twins at a time: goes on with {half}, or "
                    "fewer. `slice_size` says how many to begin with.",
                    stacklevel=2,
                )
                told = True
            begin, size = done, half
            continue
        if results is None:
            results = jax.tree.map(lambda leaf: np.empty((total, *leaf.shape[1:]), leaf.dtype), found)
        keep = min(size, total - done)
        for table, part in zip(jax.tree.leaves(results), jax.tree.leaves(found), strict=True):
            if plain:
                table[done : done + keep] = part[:keep]
            else:
                table[ordered] = part
        learn(ordered, found)
        done += keep
        if progress is not None:
            progress(done, total)
    return results


def on_host(results: Any) -> Any:
    """Results as NumPy arrays, when they are there.

    These keep their float64 where jax arrays of a user who has not enabled it would lose theirs.
    """
    # waited for first: to look at an array for which there was no memory ends the process
    return jax.tree.map(np.asarray, jax.block_until_ready(results))


def _start(compute: Callable[[int, Any], Any], size: int, numbers: Any, device: Any) -> Any:
    if device is None:
        return compute(size, numbers)
    with alone_on(device):
        results = compute(size, jax.device_put(numbers, device))
    for leaf in jax.tree.leaves(results):
        # asked for now, the copy begins as soon as the kernel ends
        with contextlib.suppress(AttributeError):
            leaf.copy_to_host_async()
    return results


def out_of_memory(error: Exception) -> bool:
    """Whether fewer twins might do: they do not where a kernel cannot start, whose threads' memory is another."""
    text = str(error)
    return ("RESOURCE_EXHAUSTED" in text or "OUT_OF_MEMORY" in text) and "does not start the kernel" not in text


def array_bytes(tree: Any) -> int:
    """What arrays take, or will take if they are only shapes yet."""
    return sum(int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def free_bytes(device: Any) -> int | None:
    """Memory that slices may take on a device; None if the device does not say, as a processor does not."""
    stats = device.memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return int(SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))


def shared_out(total: int, most: int, devices: int) -> int:
    """Twins in a slice, at most so many, so that every device has one where one device is not enough."""
    return even(total, min(total, most, max(FULL, -(-total // devices))))


def fitting(total: int, size: int, devices: Sequence[Any], own: int, shared: int) -> int:
    """Twins in a slice, so that those in flight fit into every device's memory.

    Args:
        total: twins.
        size: twins in a slice at most.
        devices: that take slices.
        own: bytes of one twin's inputs and results.
        shared: bytes of what twins share.
    """
    frees = [free for free in map(free_bytes, devices) if free is not None]
    if not frees:
        return size
    most = (min(frees) // (IN_FLIGHT * COPIES) - shared) // max(1, own)
    return size if most >= size else even(total, max(1, most))


def even(total: int, most: int) -> int:
    """Twins in a slice, so that little is computed to fill up the last one."""
    return -(-total // -(-total // most)) if total else 1
