"""What a kernel must agree with: the same function under XLA."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from vht_kernels import lanes


def agree(fn, *args, in_axes: Any = 0, rtol=1e-12, atol=1e-12, run=lambda batched, *args: batched(*args)):
    """The kernel, run as it is or in another way, and XLA give the same values, dtypes and shapes."""
    expected = jax.tree.leaves(jax.jit(jax.vmap(fn, in_axes=in_axes))(*args))
    found = jax.tree.leaves(run(lanes(fn, in_axes=in_axes), *args))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if jnp.issubdtype(a.dtype, jnp.floating):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
        else:
            np.testing.assert_array_equal(a, b)
