"""A traced function of one lane, and the kernels compiled from it: one for this machine's processor, one for its GPUs."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.ffi
from jax.extend import core as jex

from vht_kernels import cache, cpu, driver, nvidia
from vht_kernels.fingerprint import fingerprint
from vht_kernels.garbage import paused
from vht_kernels.handler import handler_ir
from vht_kernels.launch import launcher_ir
from vht_kernels.lower import Argument, lower
from vht_kernels.memory import Extent, workspace_bytes
from vht_kernels.uniform import inner_jaxprs

KERNELS: dict[str, Kernel] = {}
_REGISTERED: Counter[str] = Counter()
_LOCK = threading.RLock()


@dataclasses.dataclass(eq=False)
class Kernel:
    """A compiled program, registered with XLA under `target`."""

    key: str
    target: str
    seconds: float  # to compile, or to load
    from_disk: bool


@dataclasses.dataclass(eq=False)
class DeviceKernel(Kernel):
    """A program compiled for GPUs, loaded by their driver as `handle`; its machine code is there for device `ordinal`."""

    architecture: str
    handle: int
    ordinal: int
    workspace: tuple[Extent, ...]


@dataclasses.dataclass(eq=False)
class Program:
    """A function of one lane, traced for given types; compiled when XLA first needs it."""

    closed: jex.ClosedJaxpr  # without constants: they are inputs
    arguments: tuple[Argument, ...]
    width: int
    reciprocals: bool
    name: str

    @functools.cached_property
    def kernel(self) -> Kernel:
        """For this machine's processor."""
        return compile_program(self)

    @functools.cached_property
    def device_kernel(self) -> DeviceKernel:
        """For this machine's NVIDIA GPUs.

        Raises:
            DriverError: there is none, or no driver that can be used.
        """
        return _compile_for_devices(self)

    @property
    def equations(self) -> int:
        """Equations with all calls written out."""
        return _count(self.closed.jaxpr)

    def ptx(self, architecture: str) -> str:
        """The kernel for an architecture of NVIDIA's, such as ``sm_90``; no GPU is needed."""
        text, _ = _written(self, architecture, _device_key(self, architecture))
        return text

    def workspace_bytes(self, extents: Sequence[Extent], shapes: Sequence[Sequence[int]]) -> int:
        """What a GPU's kernel needs besides its outputs, for inputs of given shapes."""
        lanes = next(shape[0] for shape, a in zip(shapes, self.arguments, strict=True) if not a.shared)
        return workspace_bytes(extents, lanes, [shape[-1] if shape else 0 for shape in shapes])


def _count(jaxpr: jex.Jaxpr) -> int:
    return sum(sum(_count(inner) for inner in inner_jaxprs(eqn)) or 1 for eqn in jaxpr.eqns)


# ---------------------------------------------------------------------------------------------------- the processor


def compile_program(program: Program) -> Kernel:
    """Compile for this machine's processor, or load what an earlier process compiled."""
    begin = time.perf_counter()
    settings = f"{cpu.host().key} width {program.width} reciprocals {program.reciprocals}"
    key = fingerprint(program.closed.jaxpr, program.arguments, settings)
    with _LOCK:
        found = KERNELS.get(key)
        if found is not None:
            return found
        symbol = _symbol(key)
        address = _from_disk(key, f"{symbol}.handler")
        from_disk = address is not None
        if address is None:
            with paused():
                text = str(lower(program.closed, program.arguments, program.width, symbol, program.reciprocals).module)
            handler = handler_ir(symbol, program.width, _tables(program), _results(program), cpu.family())
            code = cpu.compile_object(text, handler)
            cache.store(key, code)
            address = cpu.load_object(code, f"{symbol}.handler")
        target = _register(symbol, address, "cpu")
        kernel = Kernel(key, target, time.perf_counter() - begin, from_disk)
        KERNELS[key] = kernel
        return kernel


def _symbol(key: str) -> str:
    return f"lanes_{key[:16]}"


def _tables(program: Program) -> list[bool]:
    return [a.table for a in program.arguments]


def _results(program: Program) -> int:
    return len(program.closed.jaxpr.outvars)


def _from_disk(key: str, function: str) -> int | None:
    code = cache.load(key)
    if code is None:
        return None
    try:
        return cpu.load_object(code, function)
    except ValueError:  # whatever it is, it is not this kernel
        return None


def _register(symbol: str, address: int, platform: str) -> str:
    # the same name in every process that registers a kernel once: JAX's own cache of compiled functions then knows it
    again = _REGISTERED[symbol]
    target = f"{symbol}_{again}" if again else symbol
    _REGISTERED[symbol] += 1
    capsule = jax.ffi.pycapsule(ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(address))
    jax.ffi.register_ffi_target(target, capsule, platform=platform, api_version=1)
    return target


# ---------------------------------------------------------------------------------------------------- GPUs


def _compile_for_devices(program: Program) -> DeviceKernel:
    begin = time.perf_counter()
    driver.library()  # says what is missing
    devices = driver.usable()
    architecture = nvidia.architecture(min(device.capability for device in devices))
    key = _device_key(program, architecture)
    with _LOCK:
        found = KERNELS.get(key)
        if isinstance(found, DeviceKernel):
            return found
        text, from_disk = _written(program, architecture, key)
        symbol = _symbol(key)
        ordinal = _ordinal(devices)
        handle = driver.load_kernel(text, symbol, ordinal)
        few = min(device.multiprocessors for device in devices) * nvidia.BLOCK
        launcher = launcher_ir(symbol, program.name, handle, few, _tables(program), _results(program))
        address = cpu.load_object(cpu.compile_object(launcher), f"{symbol}.handler")
        target = _register(symbol, address, "CUDA")
        seconds = time.perf_counter() - begin
        kernel = DeviceKernel(key, target, seconds, from_disk, architecture, handle, ordinal, _workspace(text))
        KERNELS[key] = kernel
        return kernel


def _ordinal(devices: Sequence[driver.Device]) -> int:
    """The device that JAX computes on, as the driver counts; the first one of all where JAX has none."""
    usable = [device.ordinal for device in devices]
    # JAX says in more than one way that it has no GPU
    with contextlib.suppress(RuntimeError, AssertionError):
        given = [jax.config.jax_default_device, *jax.local_devices(backend="cuda")]  # type: ignore[attr-defined]
        numbers = [d.local_hardware_id for d in given if getattr(d, "platform", None) == "gpu"]
        usable = [number for number in numbers if number in usable] or usable
    return usable[0]


def _device_key(program: Program, architecture: str) -> str:
    settings = f"{nvidia.key(architecture)} reciprocals {program.reciprocals}"
    return fingerprint(program.closed.jaxpr, program.arguments, settings)


def _written(program: Program, architecture: str, key: str) -> tuple[str, bool]:
    """The PTX, and whether it was on disk under the key."""
    known = cache.load(key)
    if known is not None:
        return known.decode(), True
    with paused():
        lowered = lower(program.closed, program.arguments, 0, _symbol(key), program.reciprocals)
        module = str(lowered.module)
    # the lanes, the length of every table, the inputs, the outputs and the workspace
    parameters = 1 + sum(_tables(program)) + len(program.arguments) + _results(program) + 1
    text = nvidia.compile_ptx(module, architecture, parameters)
    # the text tells what memory it wants, so that it is complete by itself
    wanted = " ".join(f"{'-' if x.argument is None else x.argument}:{x.factor}" for x in lowered.workspace)
    text = f"// workspace {wanted}\n{text}"
    cache.store(key, text.encode())
    return text, False


def _workspace(text: str) -> tuple[Extent, ...]:
    listed = re.findall(r"(-|\d+):(\d+)", text.split("\n", 1)[0])
    return tuple(Extent(None if argument == "-" else int(argument), int(factor)) for argument, factor in listed)


def programs(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Program]:
    """Every kernel that a function calls, traced but not compiled.

    Args:
        fn: calls functions made by `lanes`, under `jax.jit` or not.
        args: for it; arrays, or what has their shape and dtype.
        kwargs: likewise.
    """
    found: list[Program] = []
    _gather(jax.make_jaxpr(fn)(*args, **kwargs).jaxpr, found)
    return found


def _gather(jaxpr: jex.Jaxpr, found: list[Program]) -> None:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "lanes":
            if eqn.params["program"] not in found:
                found.append(eqn.params["program"])
            continue
        for inner in inner_jaxprs(eqn):
            _gather(inner, found)
