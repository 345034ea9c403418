"""The device that is measured, and what it can do at most."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

# CUdevice_attribute, cuda.h of CUDA 13.0
_CLOCK, _MEMORY_CLOCK, _BUS, _MULTIPROCESSORS, _MAJOR, _MINOR, _L2, _DOUBLE_RATIO = 13, 36, 37, 16, 75, 76, 38, 87
# additions, multiplications or fused ones of float32 a cycle and multiprocessor, and of float64 where the driver does not tell
# their ratio: CUDA C++ Programming Guide 13.0, "Throughput of Native Arithmetic Instructions"
_SINGLE = {(7, 0): 64, (7, 5): 64, (8, 0): 64}
_LATER_SINGLE = 128
_DOUBLE = {(7, 0): 32, (7, 5): 2, (8, 0): 32, (8, 6): 2, (8, 9): 2, (9, 0): 64, (10, 0): 64, (12, 0): 2}


@dataclass(frozen=True)
class Limits:
    """What a GPU can do at most, from what the driver says of it.

    Attributes:
        name: of the GPU.
        capability: compute capability.
        multiprocessors: how many.
        clock: highest, Hz.
        memory_clock: highest, Hz; data moves twice a cycle.
        bus: bits.
        l2: bytes.
        memory: bytes.
        float32: operations a second, a fused multiplication and addition counted as two; 0 where no clock is known.
        float64: the same.
        bandwidth: bytes a second; 0 where it is not known.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    clock: float
    memory_clock: float
    bus: int
    l2: int
    memory: int
    float32: float
    float64: float
    bandwidth: float

    @property
    def architecture(self) -> str:
        """As compilers call it."""
        return f"sm_{self.capability[0]}{self.capability[1]}"


def missing() -> str | None:
    """What this machine lacks for a measurement on a GPU, in a sentence; None if nothing."""
    from vht_kernels import driver

    lack = driver.missing()
    if lack is not None:
        return lack
    import jax

    try:
        found = jax.devices("gpu")
    except RuntimeError as error:
        first = str(error).splitlines()[0] if str(error) else "no reason given"
        return f'the NVIDIA driver is here, but JAX has no CUDA backend ({first}): pip install "jax[cuda13]"'
    return None if found else "JAX sees no GPU"


def limits() -> Limits:
    """Of the first GPU.

    Raises:
        DriverError: the driver does not tell.
    """
    from vht_kernels import driver

    library, handle = driver.library(), ctypes.c_int(0)
    driver.check(library.cuDeviceGet(ctypes.byref(handle), 0), "cuDeviceGet")

    def attribute(which: int) -> int:
        value = ctypes.c_int(0)
        driver.check(library.cuDeviceGetAttribute(ctypes.byref(value), which, handle), "cuDeviceGetAttribute")
        return value.value

    def optional(which: int) -> int:
        """0 where a driver does not tell it: a share less is no reason to measure nothing."""
        with contextlib.suppress(driver.DriverError):
            return attribute(which)
        return 0

    device = driver.devices()[0]
    return of(
        name=device.name,
        capability=(attribute(_MAJOR), attribute(_MINOR)),
        multiprocessors=attribute(_MULTIPROCESSORS),
        clock=1e3 * optional(_CLOCK),
        memory_clock=1e3 * optional(_MEMORY_CLOCK),
        bus=optional(_BUS),
        l2=optional(_L2),
        memory=device.memory,
        ratio=optional(_DOUBLE_RATIO),
    )


def of(
    *,
    name: str,
    capability: tuple[int, int],
    multiprocessors: int,
    clock: float,
    memory_clock: float,
    bus: int,
    l2: int,
    memory: int,
    ratio: int,
) -> Limits:
    """The limits that follow from a GPU's numbers; a ratio of float32 to float64 of 0 is looked up by capability."""
    single = _SINGLE.get(capability, _LATER_SINGLE)
    double = single / ratio if ratio else _DOUBLE.get(capability, single / 64)
    cycles = 2.0 * multiprocessors * clock
    return Limits(
        *(name, capability, multiprocessors, clock, memory_clock, bus, l2, memory),
        float32=cycles * single,
        float64=cycles * double,
        bandwidth=2.0 * memory_clock * bus / 8,
    )


def describe(found: Limits | None) -> dict[str, Any]:
    """For the record: limits, driver, and what else of CUDA is here."""
    if found is None:
        return {"name": "CPU (no device)"}
    told = asdict(found)
    asked = ["nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm,clocks.sm", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        told["nvidia-smi"] = subprocess.run(asked, capture_output=True, text=True, timeout=20.0).stdout.strip()
    with contextlib.suppress(OSError):
        lines = subprocess.run(["nvcc", "--version"], capture_output=True, text=True).stdout.strip().splitlines()
        told["nvcc"] = lines[-1] if lines else None
    return told
