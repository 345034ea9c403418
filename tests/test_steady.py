"""Steady states and their derivatives, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import Filter, Tide

from vht.errors import ModelError
from vht.model import (
    Organ,
    Scalar,
    Vars,
    algebraic,
    param,
    port,
    quantity,
    state,
)
from vht.organs.circulation import Circulation
from vht.solve import (
    FixedPointStatus,
    Rodas5P,
    Tsit5,
    steady_state,
)

TIGHT = Tsit5(rtol=1e-10, atol=1e-12)
BACKENDS = ["lanes", "xla"]


def close(found, expected, rtol=1e-7, atol=1e-9):
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


class Saturable(Organ):
    """``x' = u - Vmax x / (Km + x)``: eliminated by an enzyme (Michaelis-Menten)."""

    Vmax: Scalar = param(2.0, "mg/h", "largest rate of elimination")
    Km: Scalar = param(5.0, "mg", "amount at half of that")
    time = "h"

    class State(Vars):
        x: Scalar = state(1.0, "mg", "amount in the body")

    class In(Vars):
        u: Scalar = port("mg/h", "what is injected", kind="flow")

    class Out(Vars):
        cleared: Scalar = port("mg/h", "what is eliminated")

    def rates(self, t, x, u):
        return self.State(x=u.u - self.outputs(t, x, u).cleared)

    def outputs(self, t, x, u):
        return self.Out(cleared=self.Vmax * x.x / (self.Km + x.x))


def saturated(Vmax, Km, u):
    return u * Km / (Vmax - u)


def test_a_steady_state_and_its_first_and_second_derivatives():
    def solved(p):
        found = steady_state(Saturable(), twins={"Vmax": p[0], "Km": p[1]}, inputs={"u": p[2]})
        return found.values["x"][0]

    p = jnp.array([2.0, 5.0, 1.2])
    assert solved(p) == pytest.approx(float(saturated(*p)), rel=1e-12)
    close(jax.jit(jax.grad(solved))(p), jax.grad(lambda p: saturated(*p))(p), rtol=1e-9)
    close(jax.hessian(solved)(p), jax.hessian(lambda p: saturated(*p))(p), rtol=1e-9)
    found = steady_state(Saturable(), inputs={"u": [0.5, 1.0, 1.9]})
    x = saturated(2.0, 5.0, np.array([0.5, 1.0, 1.9]))
    np.testing.assert_allclose(found.values["x"], x, rtol=1e-12)
    np.testing.assert_allclose(found.values["cleared"], [0.5, 1.0, 1.9], rtol=1e-12)
    np.testing.assert_allclose(found.growth, -2.0 * 5.0 / (5.0 + x) ** 2, rtol=1e-9)
    assert (found.residual < 1e-10).all() and (found.steps == 0).all() and found.iterations.max() < 30
    assert found.to_xarray()["iterations"].attrs["long_name"] == "Newton iterations"


def test_a_twin_without_a_steady_state_ends_with_a_status_and_spoils_nothing():
    u = jnp.array([1.0, 2.5, jnp.nan])

    def total(Vmax, u):
        found = steady_state(Saturable(Vmax=Vmax), inputs={"u": u})
        return jnp.where(found.status == 0, found.values["x"] + found.values["cleared"], 0.0).sum(), found.status

    (found, status), slopes = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(2.0, u)
    # twice as much comes in as can be eliminated: it rises for ever
    assert [FixedPointStatus(int(s)).label for s in status] == ["ok", "no_convergence", "non_finite"]
    expected = jax.grad(lambda V, u: saturated(V, 5.0, u) + u, argnums=(0, 1))(2.0, 1.0)
    assert found == pytest.approx(6.0) and slopes[0] == pytest.approx(float(expected[0]), rel=1e-9)
    np.testing.assert_allclose(slopes[1], [expected[1], 0.0, 0.0], rtol=1e-9)


def test_time_helps_where_newton_fails():
    found = steady_state(Saturable(), inputs={"u": 1.9}, max_iterations=2)
    assert found.status[0] == 0 and found.steps[0] > 0
    assert found.values["x"][0] == pytest.approx(float(saturated(2.0, 5.0, 1.9)), rel=1e-10)


class Binding(Organ):
    """A drug and its target, bound and free: what there is of either stays."""

    on: Scalar = param(0.6, "L/(nmol*s)", "rate of binding")
    off: Scalar = param(0.9, "1/s", "rate of release")

    class State(Vars):
        drug: Scalar = state(3.0, "nmol/L", "free drug")
        target: Scalar = state(2.0, "nmol/L", "free target")
        bound: Scalar = state(0.5, "nmol/L", "both, bound")

    class Conserved(Vars):
        drug: Scalar = quantity("nmol/L", "all drug")
        target: Scalar = quantity("nmol/L", "all target")

    def conserved(self, x):
        return self.Conserved(drug=x.drug + x.bound, target=x.target + x.bound)

    def rates(self, t, x, u):
        net = self.on * x.drug * x.target - self.off * x.bound
        return self.State(drug=-net, target=-net, bound=net)


def binding(on, off, drug, target, bound):
    total = drug + target + 2.0 * bound + off / on
    pair = 0.5 * (total - jnp.sqrt(total**2 - 4.0 * (drug + bound) * (target + bound)))
    return jnp.stack([drug + bound - pair, target + bound - pair, pair])


def test_two_conserved_quantities():
    names = ("drug", "target", "bound")

    def solved(p):
        found = steady_state(
            Binding(), twins={"on": p[0], "off": p[1]}, initial=dict(zip(names, p[2:], strict=True)), backend="lanes"
        )
        return jnp.stack([found.values[name][0] for name in names])

    p = jnp.array([0.6, 0.9, 3.0, 2.0, 0.5])
    close(solved(p), binding(*p), rtol=1e-12)
    close(jax.jacfwd(solved)(p), jax.jacfwd(lambda p: binding(*p))(p), rtol=1e-9)
    close(jax.jacrev(solved)(p), jax.jacrev(lambda p: binding(*p))(p), rtol=1e-9)
    drug, target, _ = binding(*p)
    assert steady_state(Binding(), initial={"bound": 0.5}).growth[0] == pytest.approx(-0.6 * (drug + target) - 0.9)


class Drip(Organ):
    """``x' = a - k x``: with k = 0 nothing holds it."""

    a: Scalar = param(1.0, "mg/h", "inflow")
    k: Scalar = param(0.5, "1/h", "elimination rate")
    time = "h"

    class State(Vars):
        x: Scalar = state(3.0, "mg", "amount")

    def rates(self, t, x, u):
        return self.State(x=self.a - self.k * x.x)


def test_what_nothing_holds_is_singular():
    found = steady_state(Drip(), twins={"a": [1.0, 1.0, 0.0, 0.0], "k": [0.5, 0.0, 0.0, 0.5]})
    assert [FixedPointStatus(s).label for s in found.status] == ["ok", "singular", "singular", "ok"]
    np.testing.assert_allclose(found.values["x"], [2.0, np.nan, np.nan, 0.0], atol=1e-9)


class Cleared(Organ):
    """An infusion against elimination that saturates, by Hill's equation."""

    time = "h"
    most: Scalar = param(2.0, "mg/h", "largest elimination")
    n: Scalar = param(1.0, "1", "Hill coefficient")
    half: Scalar = param(1.0, "mg", "amount at which half of it is reached")

    class State(Vars):
        x: Scalar = state(1.0, "mg", "amount")

    class In(Vars):
        infusion: Scalar = port("mg/h", "infusion", kind="flow")

    def rates(self, t, x, u):
        z = (x.x / self.half) ** self.n
        return self.State(x=u.infusion - self.most * z / (1.0 + z))


def test_where_rates_flatten_off_is_no_state():
    # an inflow as large as the most that is eliminated: x grows without end, ever more slowly
    n = np.array([1.0, 2.0, 4.0, 8.0])
    found = steady_state(Cleared(), inputs={"infusion": 2.0}, twins={"n": n})
    assert (found.status == FixedPointStatus.SINGULAR).all() and np.isnan(found.values["x"]).all()
    almost = 2.0 * (1.0 - 1e-6)
    found = steady_state(Cleared(), inputs={"infusion": almost}, twins={"n": n})
    assert found.ok.all()
    np.testing.assert_allclose(found.values["x"], (1e6 - 1.0) ** (1.0 / n), rtol=1e-3)


class Switch(Organ):
    """``x' = r x (1 - x^2)``: two stable states and one between them."""

    r: Scalar = param(1.0, "1/s", "rate")

    class State(Vars):
        x: Scalar = state(0.3, "1", "position")

    def rates(self, t, x, u):
        return self.State(x=self.r * x.x * (1.0 - x.x * x.x))


def test_which_of_several_steady_states():
    found = steady_state(Switch(), initial={"x": [0.3, -0.01, 0.0, 5.0]})
    np.testing.assert_allclose(found.values["x"], [1.0, -1.0, 0.0, 1.0], atol=1e-10)
    np.testing.assert_allclose(found.growth, [-2.0, -2.0, 1.0, -2.0], rtol=1e-8)
    assert np.isnan(steady_state(Switch(), stability=False).growth[0])


class Throttle(Organ):
    """A vessel emptied through a throttle whose flow is an algebraic variable: ``x' = a - q``, ``q |q| = x``."""

    a: Scalar = param(1.5, "1/s", "inflow")
    one: Scalar = param(1.0, "1/s^2", "unit of the throttle's equation")

    class State(Vars):
        x: Scalar = state(1.0, "1", "what is in it")
        q: Scalar = algebraic(1.0, "1/s", "outflow")

    def rates(self, t, x, u):
        return self.State(x=self.a - x.q, q=self.one * x.x - x.q * jnp.abs(x.q))


def test_algebraic_variables():
    method = Rodas5P(rtol=1e-9, atol=1e-9)
    found = steady_state(Throttle(), twins={"a": [0.5, 1.5]}, method=method)
    np.testing.assert_allclose(found.values["x"], [0.25, 2.25], rtol=1e-10)
    np.testing.assert_allclose(found.values["q"], [0.5, 1.5], rtol=1e-10)
    # q' = x' / (2 q), so that x' falls by 1 / (2 q) for each unit of x
    np.testing.assert_allclose(found.growth, [-1.0, -1.0 / 3.0], rtol=1e-8)
    slope = jax.grad(lambda a: steady_state(Throttle(a=a), method=method).values["x"][0])(1.5)
    assert slope == pytest.approx(3.0, rel=1e-9)


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (Tide(), {}, ModelError, "`Tide` depend on time, so that it has no steady state: `periodic_state`"),
        (Circulation(), {}, ModelError, "depend on time"),
        (Filter(), {}, ModelError, "Input `u` of `Filter` is a signal and needs values"),
        (Saturable(), {"inputs": {"v": 1.0}}, ModelError, "has no input `v`"),
        (Saturable(), {"inputs": [1.0]}, TypeError, "`inputs` must hold columns by name"),
        (Saturable(), {"max_iterations": 0}, ValueError, "`max_iterations` must be at least 1"),
    ],
)
def test_mistakes_of_a_steady_state_are_told(model, arguments, error, message, unchecked_annotations):
    with pytest.raises(error, match=message):
        steady_state(model, **arguments)
