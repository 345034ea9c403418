"""NVIDIA's driver, by way of ctypes: whether it is here, what it can do, and which devices it has.

Nothing of the CUDA toolkit is needed, only the library that comes with the driver. Names, numbers and meanings: CUDA Driver API
(cuda.h), CUDA 13.0.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import os
import sys
from collections.abc import Iterator

# where the driver's library is looked for: by name, in the system's own order
LIBRARIES = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
# kernels are loaded by cuLibraryLoadData, which came with CUDA 12.0 (driver 525)
LEAST_VERSION = 12_000
# kernels are made for compute capability 8.0 (A100) and later
LEAST_CAPABILITY = (8, 0)

_SUCCESS, _STUB, _NO_DEVICE, _MISMATCH, _COMPATIBILITY = 0, 34, 100, 803, 804
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16
_ERROR_LOG, _ERROR_LOG_BYTES, _LOG_BYTES = 5, 6, 8192  # CUjit_option
_LOCAL_BYTES, _REGISTERS = 3, 4  # CUfunction_attribute
_LOGS: list[tuple[ctypes.Array, ...]] = []  # as long as the process: nothing is ever unloaded
# CUDA_ERROR_INVALID_PTX, _JIT_COMPILER_NOT_FOUND, _UNSUPPORTED_PTX_VERSION, _INVALID_SOURCE
_OF_THE_TEXT = (218, 221, 222, 300)
_UPDATE = "install a newer driver from https://www.nvidia.com/drivers"


@dataclasses.dataclass(frozen=True)
class Device:
    """A GPU, as the driver counts them (`CUDA_VISIBLE_DEVICES` hides and reorders).

    Attributes:
        ordinal: from 0.
        name: such as ``NVIDIA H100 80GB HBM3``.
        capability: compute capability, such as ``(9, 0)``.
        multiprocessors: how many.
        memory: bytes in all.
    """

    ordinal: int
    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int


class DriverError(RuntimeError):
    """A call of the driver failed, or there is no driver that could be called."""


def missing() -> str | None:
    """What kernels for NVIDIA GPUs lack on this machine, in a sentence that also says what to do; None if nothing.

    The driver is asked once; later calls repeat its answer, as the driver itself would.
    """
    return _look(LIBRARIES)[1]


def devices() -> tuple[Device, ...]:
    """The driver's devices, those too old for our kernels too; none where there is no driver that can be used."""
    return _look(LIBRARIES)[0]


def usable() -> tuple[Device, ...]:
    """The devices that kernels can be made for."""
    return tuple(device for device in devices() if device.capability >= LEAST_CAPABILITY)


@functools.cache
def library() -> ctypes.CDLL:
    """The driver's library, initialised.

    Raises:
        DriverError: `missing()`.
    """
    lack = missing()
    if lack is not None:
        raise DriverError(lack)
    found = _load(LIBRARIES)
    assert found is not None, "a driver that lacks nothing was loaded"
    return found


def check(code: int, call: str) -> None:
    """Raise what the driver says of a call that did not succeed.

    Raises:
        DriverError: the code is not that of success.
    """
    if code != _SUCCESS:
        raise DriverError(f"The NVIDIA driver's `{call}` failed: {_said(_load(LIBRARIES), code)}.")


def address(function: str) -> int:
    """Where a function of the driver lies in memory.

    Raises:
        DriverError: `missing()`.
    """
    return ctypes.cast(getattr(library(), function), ctypes.c_void_p).value or 0


def load_kernel(ptx: str, name: str, ordinal: int = 0) -> int:
    """The driver's handle of a kernel, good on every device.

    The driver makes machine code of it for one device now, so that what it refuses is told here and not by a launch, and for
    others when they first run it.

    Args:
        ptx: the text that holds it.
        name: of the kernel.
        ordinal: of that one device.

    Raises:
        DriverError: there is no driver, or it refuses the text; with what its compiler says.
    """
    driver = library()
    image, log = ctypes.create_string_buffer(ptx.encode()), ctypes.create_string_buffer(_LOG_BYTES)
    options = (ctypes.c_int * 2)(_ERROR_LOG, _ERROR_LOG_BYTES)
    values = (ctypes.c_void_p * 2)(ctypes.addressof(log), _LOG_BYTES)
    loaded, kernel = ctypes.c_void_p(), ctypes.c_void_p()
    # The driver copies the text, but may compile it again when another device first runs it, and then writes to the log again
    _LOGS.append((log, options, values))

    def accept(code: int, call: str) -> None:
        said = log.value.decode(errors="replace").strip()
        if code in _OF_THE_TEXT or (code != _SUCCESS and said):
            raise DriverError(f"The NVIDIA driver refuses a kernel: {said or _said(driver, code)}.")
        check(code, call)

    code = _ask(driver, "cuLibraryLoadData", ctypes.byref(loaded), image, options, values, 2, None, None, 0)
    accept(code, "cuLibraryLoadData")
    # the driver has written the log's length where its size was, and may read that again when it compiles
    values[1] = _LOG_BYTES
    accept(_ask(driver, "cuLibraryGetKernel", ctypes.byref(kernel), loaded, name.encode()), "cuLibraryGetKernel")
    with _context(driver, ordinal):
        accept(_ask(driver, "cuKernelGetFunction", ctypes.byref(ctypes.c_void_p()), kernel), "cuKernelGetFunction")
    return kernel.value or 0


@contextlib.contextmanager
def _context(driver: ctypes.CDLL, ordinal: int) -> Iterator[ctypes.c_int]:
    """A device, its primary context, which is JAX's too, for a while the thread's own; kept as long as the process."""
    device, context = ctypes.c_int(0), ctypes.c_void_p()
    check(_ask(driver, "cuDeviceGet", ctypes.byref(device), ordinal), "cuDeviceGet")
    check(_ask(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    check(_ask(driver, "cuCtxPushCurrent_v2", context), "cuCtxPushCurrent_v2")
    try:
        yield device
    finally:
        check(_ask(driver, "cuCtxPopCurrent_v2", ctypes.byref(context)), "cuCtxPopCurrent_v2")


def kernel_usage(handle: int, ordinal: int) -> tuple[int, int]:
    """Registers and bytes of local memory that a thread of a kernel takes on a device; makes its machine code if need be.

    Raises:
        DriverError: the driver cannot say.
    """
    driver, numbers = library(), []
    with _context(driver, ordinal) as device:
        for which in (_REGISTERS, _LOCAL_BYTES):
            value = ctypes.c_int(0)
            code = _ask(driver, "cuKernelGetAttribute", ctypes.byref(value), which, ctypes.c_void_p(handle), device)
            check(code, "cuKernelGetAttribute")
            numbers.append(value.value)
    return numbers[0], numbers[1]


@functools.cache
def _load(names: tuple[str, ...]) -> ctypes.CDLL | None:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


@functools.cache
def _look(names: tuple[str, ...]) -> tuple[tuple[Device, ...], str | None]:
    """The devices, and what is missing."""
    driver = _load(names)
    if driver is None:
        return (), (
            f"the NVIDIA driver is not installed: its library (`{names[0]}`) was not found. Install the driver from "
            "https://www.nvidia.com/drivers; in a container, start it with the GPUs (`docker run --gpus all`)"
        )
    version = ctypes.c_int(0)
    code = _ask(driver, "cuDriverGetVersion", ctypes.byref(version))
    if code == _STUB:
        return (), (
            f"`{names[0]}` is the CUDA toolkit's stub, made for linking only, and hides the driver: take the toolkit's folder "
            "`stubs` out of LD_LIBRARY_PATH, or install the driver from https://www.nvidia.com/drivers"
        )
    if version.value < LEAST_VERSION or not hasattr(driver, "cuLibraryLoadData"):
        told = f"is for CUDA {_version(version.value)}" if version.value else "is of an unknown version"
        return (), f"the NVIDIA driver {told}, but CUDA {_version(LEAST_VERSION)} (driver 525) is needed: {_UPDATE}"
    code = _ask(driver, "cuInit", 0)
    count = ctypes.c_int(0)
    if code == _SUCCESS:
        code = _ask(driver, "cuDeviceGetCount", ctypes.byref(count))
    if code == _NO_DEVICE or (code == _SUCCESS and count.value == 0):
        return (), _no_device()
    if code in (_MISMATCH, _COMPATIBILITY):
        return (), (
            f"the NVIDIA driver's library and its kernel module are of different versions ({_said(driver, code)}): "
            "restart the machine after an update of the driver; in a container, take the driver of the host"
        )
    if code != _SUCCESS:
        return (), (
            f"the NVIDIA driver does not start ({_said(driver, code)}): see whether `nvidia-smi` works; if not, restart the "
            "machine or install the driver again"
        )
    try:
        found = tuple(_device(driver, i) for i in range(count.value))
    except DriverError as error:
        return (), f"the NVIDIA driver does not tell its devices: {error} See whether `nvidia-smi` works"
    if all(device.capability < LEAST_CAPABILITY for device in found):
        told = ", ".join(f"{device.name} ({_capability(device.capability)})" for device in found)
        return found, (
            f"kernels need a GPU of compute capability {_capability(LEAST_CAPABILITY)} or later (Ampere: A100, RTX 30), but "
            f"here is {told}: take another GPU, or the processor"
        )
    return found, None


def _no_device() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        shown = f'`CUDA_VISIBLE_DEVICES="{visible}"`'
        return f"the NVIDIA driver is here, but {shown} leaves no GPU visible: unset it, or list GPUs that exist, as in `0`"
    return (
        "the NVIDIA driver is here, but finds no GPU: see whether `nvidia-smi` lists one; in a container or a virtual "
        "machine, pass a GPU through to it"
    )


def _device(driver: ctypes.CDLL, ordinal: int) -> Device:
    handle, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)

    def call(function: str, *arguments: object) -> None:
        code = _ask(driver, function, *arguments)
        if code != _SUCCESS:
            raise DriverError(f"`{function}` of device {ordinal} failed: {_said(driver, code)}.")

    def attribute(which: int) -> int:
        value = ctypes.c_int(0)
        call("cuDeviceGetAttribute", ctypes.byref(value), which, handle)
        return value.value

    call("cuDeviceGet", ctypes.byref(handle), ordinal)
    call("cuDeviceGetName", name, len(name), handle)
    call("cuDeviceTotalMem_v2", ctypes.byref(memory), handle)
    return Device(
        ordinal,
        name.value.decode(errors="replace"),
        (attribute(_MAJOR), attribute(_MINOR)),
        attribute(_MULTIPROCESSORS),
        memory.value,
    )


def _ask(driver: ctypes.CDLL, function: str, *arguments: object) -> int:
    """The code that a function of the driver returns; a function it has not counts as one that it cannot do."""
    found = getattr(driver, function, None)
    return -1 if found is None else int(found(*arguments))


def _said(driver: ctypes.CDLL | None, code: int) -> str:
    """The driver's own words for a code."""
    words = []
    for function in ("cuGetErrorName", "cuGetErrorString"):
        text = ctypes.c_char_p()
        if driver is not None and _ask(driver, function, code, ctypes.byref(text)) == _SUCCESS and text.value:
            words.append(text.value.decode(errors="replace"))
    return ": ".join(words) or f"CUDA error {code}"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _capability(of: tuple[int, int]) -> str:
    return f"{of[0]}.{of[1]}"
