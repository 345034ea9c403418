"""Lanes: batched native kernels from scalar JAX functions."""

from typing import TYPE_CHECKING, Any

# forks: to see them from here on
from vht_kernels import forks as forks
from vht_kernels.errors import LoweringError
from vht_kernels.tables import full_like, length, read, scratch, write

if TYPE_CHECKING:
    from vht_kernels.batching import Report, lanes
    from vht_kernels.program import programs

__all__ = ["LoweringError", "Report", "full_like", "lanes", "length", "programs", "read", "scratch", "write"]


def __getattr__(name: str) -> Any:
    # the compiler (and LLVM behind it) is loaded when it is first asked for
    if name in ("lanes", "Report"):
        from vht_kernels import batching

        return getattr(batching, name)
    if name == "programs":
        from vht_kernels.program import programs

        return programs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
