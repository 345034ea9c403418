"""Test settings: float64, CPU, strict promotion, annotations checked at run time.

The kernel cache is fresh, so that no test leans on an earlier run.
"""

import ctypes
import os
import sys
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


@pytest.fixture(scope="module", autouse=True)
def no_programs_of_other_files():
    """What JAX compiled for one file no other needs: kept to the end it takes half of the memory."""
    yield
    jax.clear_caches()


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
def shut(tmp_path):
    """A folder that may not be looked into."""
    folder = tmp_path / "shut"
    folder.mkdir(mode=0)
    held = (ctypes.c_uint32 * 6)()
    linux = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the version of what follows, and this thread
    rights = os.access(folder, os.R_OK)
    if rights and sys.platform != "linux":
        pytest.skip("to this user nothing is shut")
    if rights:
        ctypes.CDLL(None).capget(linux, held)
        less = (ctypes.c_uint32 * 6)(*held)
        less[0] &= ~0b110  # to read and write whatever the permissions are
        assert ctypes.CDLL(None).capset(linux, less) == 0
    yield folder
    if rights:
        ctypes.CDLL(None).capset(linux, held)
    folder.chmod(0o700)


@pytest.fixture
def rng():
    """Fresh for every test: its numbers must not depend on which tests ran before it in the same process."""
    return np.random.default_rng(7)
