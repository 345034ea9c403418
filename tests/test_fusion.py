"""Which products and sums round once does not depend on what other lanes do."""

from __future__ import annotations

import re

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from vht_kernels import cpu, lanes
from vht_kernels.fusion import fused

# what both sides of x x - y must be told apart by: (1 + 2^-27)^2 = 1 + 2^-26 + 2^-54
X, ROUNDED = 1.0 + 2.0**-27, 1.0 + 2.0**-26


def fuses():
    """Whether this processor multiplies and adds at once."""
    return cpu.family() in ("aarch64", "arm64") or "+fma," in f"{cpu.host().features},"


def alone_and_among_others(f, columns, condition):
    """Results of all lanes where the condition holds in none, and where it holds in the first of every group."""
    count, group = len(columns[0]), cpu.host().width(np.dtype(columns[0].dtype))
    first = np.arange(count) % group == 0
    quiet = np.full(count, -condition)
    some = lanes(f)(*columns, np.where(first, condition, -condition))
    none = lanes(f)(*columns, quiet)
    return np.asarray(none)[~first], np.asarray(some)[~first]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_sum_is_the_same_whether_or_not_a_branch_also_needs_it(dtype, sign):
    # LLVM computes the sum in the branch, where its product has another use, or beside it, where it has none
    def f(x, y, z, c):
        total = lax.cond(c > 0, lambda: jnp.sin(z) * (x * y + sign * z) * (x * y), lambda: z)
        return jnp.where(c > 0, total, 0.0 * z) + (x * y + sign * z)

    draws = np.random.default_rng(0)
    columns = [draws.standard_normal(256).astype(dtype) for _ in range(3)]
    none, some = alone_and_among_others(f, columns, np.array(1.0, dtype))
    np.testing.assert_array_equal(none, some)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_product_with_one_use_is_fused(sign):
    x, y = np.full(3, X), np.full(3, ROUNDED)
    exact = 2.0**-54 if fuses() else 0.0
    np.testing.assert_array_equal(lanes(lambda x, y: sign * (x * x - y))(x, y), sign * exact)
    np.testing.assert_array_equal(lanes(lambda x, y: y - x * x)(x, y), -exact)
    np.testing.assert_array_equal(lanes(lambda x, y: x * x + -y)(x, y), exact)


def test_a_product_with_two_uses_is_rounded():
    x, y = np.full(3, X), np.full(3, ROUNDED)
    total, product = lanes(lambda x, y: (x * x - y, x * x))(x, y)
    np.testing.assert_array_equal(total, 0.0)
    np.testing.assert_array_equal(product, ROUNDED)


MODULE = """\
define double @f(double %"x", double %"y")
{
entry:
  %".4" = fmul contract double %"x", %"y"
  %".5" = fmul contract double %"y",              0x0
  %".6" = fadd contract double %".4", %".5"
  %".7" = fmul contract double %".6", %"y"
  br label %"next"
next:
  %".9" = fsub contract double %"x", %".7"
  %".10" = fmul <2 x double> <double 0x0, double 0x0>, <double 0x0, double 0x0>
  ret double %".9"
}
"""


def test_nothing_is_left_for_llvm_to_decide():
    text = fused(MODULE)
    assert "contract" not in text
    # of two products the first; none from another block
    assert len(re.findall(r"^  .*call", text, re.M)) == 1
    assert '%".6" = call double @"llvm.fmuladd.f64"(double %"x", double %"y", double %".5")' in text
    assert '%".9" = fsub double %"x", %".7"' in text
    assert fused(text) == text
