"""Test settings: float64, CPU, strict promotion, and a fresh kernel cache so that no test leans on an earlier run."""

import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("VHT_CACHE_DIR", tempfile.mkdtemp(prefix="vht-cache-"))
os.environ.setdefault("MPLBACKEND", "Agg")

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
