"""Linear algebra on a stack of matrices, in blocks so small that no thread waits for another.

JAX's LAPACK calls on the CPU share a large batch out over XLA's threads, and the calling thread waits for them, though it is
one of them itself. XLA makes calls that do not depend on each other at the same time: as many as there are cores occupy all
threads and wait for ever (seen with jaxlib 0.10.2 on two cores, two calls of ``jnp.linalg.solve`` in one program; its function
``ParallelBatchMap``). A batch that is estimated to take less than 200,000 operations is not shared out, and nobody waits.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

# operations of one call, below those from which a batch is shared out
WORK = 150_000
# operations for each matrix of n rows, in n^3: those of an elimination, and at least those of singular values or eigenvalues
ELIMINATION, SPECTRUM = 1, 50


def solve(
    matrices: Float[Array, "twins rows rows"], right: Float[Array, "twins rows columns"]
) -> Float[Array, "twins rows columns"]:
    """Each twin's linear systems."""
    return _in_blocks(jnp.linalg.solve, ELIMINATION, matrices, right)


def inverse(matrices: Float[Array, "twins rows rows"]) -> Float[Array, "twins rows rows"]:
    """Each twin's inverse."""
    return _in_blocks(jnp.linalg.inv, ELIMINATION, matrices)


def singular_values(matrices: Float[Array, "twins rows columns"]) -> Float[Array, "twins values"]:
    """Each twin's singular values, the largest first."""
    return _in_blocks(lambda part: jnp.linalg.svd(part, compute_uv=False), SPECTRUM, matrices)


def right_factor(matrices: Float[Array, "twins rows columns"]) -> Float[Array, "twins columns columns"]:
    """Each twin's right factor, all rows of it, of the singular value decomposition."""
    return _in_blocks(lambda part: jnp.linalg.svd(part, full_matrices=True)[2], SPECTRUM, matrices)


def eigenvalues(matrices: Float[Array, "twins rows rows"]) -> Shaped[Array, "twins rows"]:
    """Each twin's eigenvalues, complex."""
    return _in_blocks(jnp.linalg.eigvals, SPECTRUM, matrices)


def _in_blocks(function: Callable[..., Array], cubes: int, *stacks: Array) -> Array:
    """A function of stacks of matrices, a block of them at a time."""
    twins = stacks[0].shape[0]
    block = max(1, WORK // (cubes * max(1, *(size for stack in stacks for size in stack.shape[1:])) ** 3))
    if block >= twins:
        return function(*stacks)
    count = -(-twins // block)

    def parts(stack: Array) -> Array:
        # the last block is filled up with the last matrix
        filled = jnp.pad(stack, ((0, count * block - twins), (0, 0), (0, 0)), mode="edge")
        return filled.reshape((count, block, *stack.shape[1:]))

    found = lax.map(lambda part: function(*part), tuple(map(parts, stacks)))
    return found.reshape((count * block, *found.shape[2:]))[:twins]
