"""Lanes: batched native kernels from scalar JAX functions."""
