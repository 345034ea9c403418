"""Lanes: batched native kernels from scalar JAX functions."""

from vht_kernels.tables import full_like, length, read, write

__all__ = ["full_like", "length", "read", "write"]
