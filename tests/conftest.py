"""Test settings: float64, CPU, strict promotion, annotations checked at run time.

The kernel cache is fresh, so that no test leans on an earlier run.
"""

import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("VHT_CACHE_DIR", tempfile.mkdtemp(prefix="vht-cache-"))
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import jaxtyping
import numpy as np
import pytest

# before anything of the package is loaded
jaxtyping.install_import_hook("vht", "annotations.checked")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def unchecked_annotations():
    """For what a user without a checker sees who passes a wrong type."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def rng():
    """Fresh for every test: its numbers must not depend on which tests ran before it in the same process."""
    return np.random.default_rng(7)
