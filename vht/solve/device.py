"""Where a solve runs: the processor, or NVIDIA GPUs; and what is missing where it cannot."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, get_abstract_mesh
from vht_kernels import driver, forks

from vht.errors import DeviceError

Device = Literal["auto", "cpu", "gpu"]
# where lanes has kernels
PLATFORMS = ("cpu", "gpu")
# what JAX raises where it cannot use a platform that it is told to use, or knows none of that name
_UNUSABLE = (RuntimeError, AssertionError)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where something is computed.

    Attributes:
        platform: "cpu", "gpu" (NVIDIA), or another that JAX knows, such as "tpu".
        devices: that share the work.
    """

    platform: str
    devices: tuple[Any, ...]

    def entered(self) -> contextlib.AbstractContextManager[Any]:
        """What is begun inside is computed here."""
        if self.devices[0] == home().devices[0]:
            return contextlib.nullcontext()
        return alone_on(self.devices[0])


@contextlib.contextmanager
def alone_on(device: Any) -> Iterator[None]:
    """What is begun inside is computed by this device, also where the user has set a mesh of others."""
    none = contextlib.nullcontext()
    outside = none if get_abstract_mesh().empty else jax.set_mesh(Mesh(np.empty((), object), ()))
    with jax.default_device(device), outside:
        yield


def check_device(device: str) -> None:
    """Refuse what is no device.

    Raises:
        ValueError: it is none.
        DeviceError: it is a GPU, and there is none; or JAX finds nothing to compute on; or this process was forked from
            one in which it had computed.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise ValueError(f'`device` must be "auto", "cpu" or "gpu", but got {device!r}.')
    lost = forks.lost_threads()
    if lost is not None:
        raise DeviceError(f"Nothing can be solved here: {lost}.")
    lack = missing() if device == "gpu" else _nowhere()
    if lack is not None:
        raise DeviceError(lack)


def place(device: Device, backend: str, traced: bool = False) -> Place:
    """Where to compute.

    Args:
        device: "cpu", "gpu", or "auto": where JAX would compute, if the backend can.
        backend: "lanes" or "xla".
        traced: whether a transformation of JAX is at work, whose place this then is.

    Raises:
        ValueError: no device; another one than the transformation's.
        DeviceError: a GPU is asked for, and there is none that can be used; or JAX is told to leave out what is asked for.
    """
    check_device(device)
    here = home()
    if traced:
        if device not in ("auto", here.platform):
            raise ValueError(
                f"Inside jit, vmap or a derivative a solve runs where the code around it does, here the platform "
                f'`{here.platform}`, but got `device="{device}"`: leave `device` at "auto", and put '
                f'`with jax.default_device(jax.devices("{device}")[0]):` around the transformed call.'
            )
        return here
    if device == "gpu":
        return here if here.platform == "gpu" and _given() else Place("gpu", _usable())
    if device == "auto" and backend == "xla":
        return here
    if device == "auto" and here.platform == "gpu":
        lack = _lacking()
        if lack is None:
            return here if _given() else Place("gpu", _usable())
        warnings.warn(f"Runs on the processor, though JAX sees a GPU: {lack}.", stacklevel=2)
    return here if here.platform == "cpu" else Place("cpu", (_processor(),))


def home() -> Place:
    """What JAX itself would compute on."""
    given = _given()
    found = jax.local_devices()[0] if given is None else given
    if isinstance(found, str):
        found = jax.local_devices(backend=found)[0]
    # JAX calls GPUs of all makers by one name
    name = found.platform
    return Place("gpu" if found in _nvidia() else f"another maker's {name}" if name == "gpu" else name, (found,))


def _nowhere() -> str | None:
    """Why JAX can compute on nothing, and what to do; None if it can."""
    try:
        home()
    except _UNUSABLE as error:
        told, why = ",".join(_platforms()), " ".join(str(error).split())
        why = f" ({why:.200})" if why else ""
        if _given() is not None:
            return f"JAX is told to compute on `{_given()}` (its setting `jax_default_device`), which it cannot use here{why}."
        return (
            f"JAX is told to compute on `{told}` (`JAX_PLATFORMS={told}`), which it cannot use here{why}: unset it, or write "
            "`JAX_PLATFORMS=cpu`."
        )
    return None


def _processor() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except _UNUSABLE as error:
        told = ",".join(_platforms())
        raise DeviceError(
            f"JAX is told to leave the processor out (`JAX_PLATFORMS={told}`): unset it, or write `JAX_PLATFORMS={told},cpu`."
        ) from error


def _given() -> Any:
    """The user's choice of a device, if there is one."""
    return jax.config.jax_default_device  # type: ignore[attr-defined]


def _platforms() -> tuple[str, ...]:
    """What the user lets JAX use; all if nothing."""
    named = jax.config.jax_platforms  # type: ignore[attr-defined]
    return tuple(named.split(",")) if named else ()


def _nvidia() -> tuple[Any, ...]:
    try:
        return tuple(jax.local_devices(backend="cuda"))
    except _UNUSABLE:
        return ()


def _usable() -> tuple[Any, ...]:
    return tuple(found for found in _nvidia() if _capability(found) >= driver.LEAST_CAPABILITY)


def _capability(found: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in str(found.compute_capability).split("."))


def _lacking() -> str | None:
    """What kernels lack on the GPUs that JAX sees."""
    lack = driver.missing()
    if lack is None and not _usable():
        told = ", ".join(f"{found.device_kind} ({found.compute_capability})" for found in _nvidia())
        least = ".".join(map(str, driver.LEAST_CAPABILITY))
        return f"kernels need a GPU of compute capability {least} or later (Ampere: A100, RTX 30), but JAX sees {told}"
    return lack


def missing() -> str | None:
    """What a solve on a GPU lacks here, all of it, and what to do; None if nothing."""
    try:
        here = home().platform
    except _UNUSABLE:
        here = None
    if here is not None and here not in PLATFORMS:
        return (
            f'`device="gpu"` means NVIDIA GPUs, for which there are kernels, but JAX computes on {here} here: there '
            '`device="auto", backend="xla"` solves through diffrax, and `device="cpu"` on the processor.'
        )
    lacks = []
    platforms = _platforms()
    if not (_nvidia() or _plugin()):
        lacks.append(
            'jax is installed without its CUDA plugin: `pip install "jax[cuda13]"` (with a driver before 580, "jax[cuda12]")'
        )
    lack = driver.missing()
    if lack is not None:
        lacks.append(lack)
    if platforms and not {"cuda", "gpu"} & set(platforms):
        told = ",".join(platforms)
        lacks.append(
            f"JAX is told to leave GPUs out (`JAX_PLATFORMS={told}`): unset it, or write `JAX_PLATFORMS=cuda,cpu`"
        )
    if not lacks:
        if _nvidia():
            lack = _lacking()
            lacks = [] if lack is None else [lack]
        else:
            lacks = [_unseen()]
    if not lacks:
        return None
    if len(lacks) == 1:
        return f'`device="gpu"` needs an NVIDIA GPU, but {lacks[0]}.'
    return '`device="gpu"` needs an NVIDIA GPU, but:\n' + "\n".join(f"  - {lack}." for lack in lacks)


def _unseen() -> str:
    try:
        jax.local_devices(backend="cuda")
    except _UNUSABLE as error:
        told = " ".join(str(error).split())
        return (
            f"JAX sees none, though plugin and driver are there ({told:.200}): its plugin and jaxlib must be of one version, "
            'which `pip install --upgrade "jax[cuda13]"` sees to'
        )
    raise AssertionError("JAX sees devices")


def _plugin() -> bool:
    """Whether jax's plugin for CUDA is installed."""
    return any("cuda" in entry.name for entry in importlib.metadata.entry_points(group="jax_plugins"))
