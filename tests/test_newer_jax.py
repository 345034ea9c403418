"""What newer versions of JAX made primitives of: each where the installed one has it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from vht_kernels import lanes

from vht.errors import UnitError
from vht.model import Organ, Scalar, Vars, param, state
from vht.model.unitcheck import check_units

X = np.concatenate([np.linspace(-0.999, 3.0, 101), [0.0, 1.0, -1.0, 1e-300]])


def needs(name):
    return pytest.mark.skipif(not hasattr(lax, name), reason=f"this JAX has no `{name}`")


@needs("one_minus_square")
def test_one_minus_square_keeps_its_digits_near_one():
    x = np.concatenate([X, 1.0 - 2.0 ** -np.arange(30.0, 53.0)])
    right = (1 - x.astype(np.longdouble)) * (1 + x.astype(np.longdouble))
    np.testing.assert_allclose(lanes(lax.one_minus_square)(x), right.astype(np.float64), rtol=5e-16)


@needs("log2")
def test_log2_of_powers_of_two_is_whole():
    whole = np.arange(-300.0, 300.0)
    np.testing.assert_allclose(lanes(lax.log2)(2.0**whole), whole, rtol=3e-16)
    np.testing.assert_allclose(lanes(lax.log2)(X[X > 0]), np.log2(X[X > 0]), rtol=1e-15, atol=1e-16)


def test_a_new_place_changes_no_number():
    # newer versions put it where values meet that devices of a mesh hold in different ways
    def fn(x):
        return 2.0 * jax.sharding.reshard(jnp.sin(x), jax.sharding.PartitionSpec())

    with jax.set_mesh(jax.make_mesh((1,), ("i",))):
        np.testing.assert_allclose(lanes(fn)(X), 2.0 * np.sin(X), rtol=1e-15)


@needs("polynomial")
def test_polynomials():
    got = lanes(lambda x, c: lax.polynomial(x, [c, 2.0, 0.0, -0.5]))(X, X + 1.0)
    np.testing.assert_allclose(got, np.polynomial.Polynomial([1.0, 3.0, 0.0, -0.5])(X), rtol=1e-13, atol=1e-14)


@needs("polynomial")
def test_units_of_polynomials():
    class Fed(Organ):
        """A level that falls by itself and by its square."""

        time = "s"
        a: Scalar = param(1.0, "mL/s", "inflow")
        b: Scalar = param(1.0, "1/s", "rate")
        c: Scalar = param(0.1, "1/(mL*s)", "crowding")

        class State(Vars):
            x: Scalar = state(1.0, "mL", "level")

        def rates(self, t, x, u):
            return self.State(x=lax.polynomial(x.x, [self.a, -self.b, -self.c, jnp.zeros(())]))

    class Wrong(Fed):
        def rates(self, t, x, u):
            return self.State(x=lax.polynomial(x.x, [self.a, -self.c, -self.b]))

    check_units(Fed)
    with pytest.raises(UnitError, match="polynomial"):
        check_units(Wrong)
