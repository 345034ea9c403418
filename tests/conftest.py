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


def pytest_addoption(parser):
    parser.addoption("--record-verified", action="store_true", help="keep the figures that tests of organs reach")
    parser.addoption("--assemble-all", action="store_true", help="have ptxas take the largest kernels too: an hour")
    parser.addoption("--record-registers", action="store_true", help="keep what ptxas says of the models' kernels")


@pytest.fixture(scope="session")
def verified(request):
    """Asserts a figure of an organ model, and that the one that `vht models` shows is it; see verified.py."""
    from verified import Verified

    return Verified(request.config.getoption("--record-verified"))


@pytest.fixture
def rng():
    """Fresh for every test: its numbers must not depend on which tests ran before it in the same process."""
    return np.random.default_rng(7)
