"""Gates: their rate, units, how a solver finds them, and the functions that excitable cells are made of."""

from __future__ import annotations

import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import bernoulli as bernoulli_numbers
from scipy.special import factorial
from vht_kernels import lanes

from vht.errors import UnitError
from vht.model import Organ, Scalar, Vars, bernoulli, boltzmann, check_units, constant, gate, param, port, state
from vht.solve.gates import gates_of
from vht.solve.switches import switches
from vht.solve.system import system_of


class Membrane(Organ):
    """Two gates; a state of the same form written out; one that is half a gate; one that drives another's gate."""

    time: ClassVar[str] = "ms"
    g: Scalar = param(0.3, "1/ms", "conductance over capacitance")

    class State(Vars):
        V: Scalar = state(-60.0, "mV", "potential")
        m: Scalar = state(0.1, "1", "gate")
        w: Scalar = state(0.2, "1", "written out")
        c: Scalar = state(0.3, "mmol/L", "gate in mmol/L")
        half: Scalar = state(0.4, "1", "a gate with a leak")
        other: Scalar = state(0.5, "1", "relaxes as if it were m")

    class In(Vars):
        stimulus: Scalar = port("mV/ms", "stimulus", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        mV, ms, mM = constant(1.0, "mV"), constant(1.0, "ms"), constant(1.0, "mmol/L")
        steady = boltzmann(x.V / mV, -40.0, 7.0)
        tau = (2.0 + jnp.exp(-jnp.square(x.V / mV / 30.0))) * ms
        return self.State(
            V=-self.g * x.m * x.w * (x.V - 50.0 * mV) - u.stimulus,
            m=gate(x.m, steady, tau),
            w=(steady - x.w) / tau,
            c=jax.jit(lambda c: gate(c, 2.0 * steady * mM, 5.0 * ms))(x.c),
            half=gate(x.half, steady, tau) - 0.1 * x.half / ms,
            other=gate(x.m, steady, tau),
        )


def arguments(dtype=jnp.float64):
    system = system_of(Membrane())
    numbers = (-33.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    return system, (
        dtype(1.0),
        {"g": dtype(0.3)},
        tuple(map(dtype, numbers)),
        {"stimulus": dtype(0.0)},
    )


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_gates_are_found_with_what_they_relax_to(dtype):
    system, args = arguments(dtype)
    found = jax.jit(gates_of(system.rates, *args))(*args)
    assert [system.states[i] for i in found] == ["m", "c"]
    steady = 1.0 / (1.0 + np.exp((-40.0 + 33.0) / 7.0))
    tight = 1e-13 if dtype is jnp.float64 else 1e-6
    np.testing.assert_allclose(found[1], (steady, 2.0 + np.exp(-((33.0 / 30.0) ** 2))), rtol=tight)
    np.testing.assert_allclose(found[3], (2.0 * steady, 5.0), rtol=tight)
    assert all(value.dtype == dtype for value in found[1])
    # and the rates are those of these gates
    rates = system.rates(*args)
    for i, (goal, tau) in found.items():
        np.testing.assert_allclose(rates[i], (goal - args[2][i]) / tau, rtol=tight)


def test_only_what_leads_to_gates_is_evaluated():
    system, args = arguments()
    names = [eqn.primitive.name for eqn in jax.make_jaxpr(gates_of(system.rates, *args))(*args).eqns]
    assert names.count("exp") == 1 and names.count("logistic") == 1
    # what only the potential's rate needs is gone: its product with the conductance
    whole = str(jax.make_jaxpr(system.rates)(*args))
    assert len(names) < whole.count(" = ")
    changed = (args[0], {"g": jnp.float64(np.nan)}, args[2], {"stimulus": jnp.float64(np.nan)})
    assert np.isfinite(gates_of(system.rates, *args)(*changed)[1]).all()


def test_a_system_without_gates_has_none():
    found = gates_of(lambda t, p, x, u: (x[0] * p, (1.0 - x[1]) / p), 0.0, 2.0, (1.0, 3.0), ())
    assert found(0.0, 2.0, (1.0, 3.0), ()) == {}


def test_arguments_of_another_structure_are_refused():
    system, args = arguments()
    with pytest.raises(TypeError, match="must have the structure"):
        gates_of(system.rates, *args)(args[0], args[1], args[2][:2], args[3])


def test_gates_keep_the_derivatives_of_functions_that_have_their_own():
    @jax.custom_jvp
    def steady(v):
        return v * v

    steady.defjvp(lambda primals, tangents: (steady(*primals), 100.0 * tangents[0]))

    def rates(t, p, x, u):
        return (gate(x[0], steady(x[1]), 1.0), x[0])

    found = gates_of(rates, 0.0, (), (0.5, 3.0), ())
    assert jax.jvp(lambda v: found(0.0, (), (0.5, v), ())[0][0], (3.0,), (1.0,)) == (9.0, 100.0)


# ------------------------------------------------------------------------------------------------------- numbers


def test_a_gate_takes_floats_and_keeps_single_precision():
    assert float(gate(0.25, 1.0, 3.0)) == 0.25
    for dtype in (jnp.float32, jnp.float64):
        assert gate(dtype(0.25), 1.0, 3.0).dtype == dtype
        assert gate(0.25, dtype(1.0), constant(3.0, "ms")).dtype == dtype


def test_lanes_compile_gates_and_constants(rng):
    def function(x, v):
        mV = constant(1.0, "mV")
        return gate(x, boltzmann(v / mV, -40.0, 7.0), 3.0 + bernoulli(v / mV)), jax.grad(bernoulli)(v)

    x, v = rng.uniform(size=37), rng.uniform(-900.0, 900.0, 37)
    v[:3] = 0.0, 1e-9, -0.05
    found = lanes(function)(x, v)
    for a, b in zip(found, jax.vmap(function)(x, v), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-300)


def test_boltzmann_neither_overflows_nor_loses_its_slope():
    v = jnp.array([-1e6, -60.0, 0.0, 1e6])
    np.testing.assert_allclose(boltzmann(v[1], -40.0, 7.0), 1.0 / (1.0 + np.exp(20.0 / 7.0)), rtol=1e-14)
    np.testing.assert_allclose(boltzmann(v[1], -40.0, -7.0), 1.0 / (1.0 + np.exp(-20.0 / 7.0)), rtol=1e-14)
    slope = jax.vmap(jax.grad(lambda v: boltzmann(v, -40.0, 7.0)))(v)
    assert np.isfinite(slope).all() and slope[0] == slope[3] == 0.0
    y = 1.0 / (1.0 + np.exp(20.0 / 7.0))
    np.testing.assert_allclose(slope[1], y * (1.0 - y) / 7.0, rtol=1e-13)


def test_bernoulli_and_its_derivatives_agree_with_its_series():
    """Its Taylor series are the Bernoulli numbers; its reflection is B(-x) = B(x) + x."""
    numbers = bernoulli_numbers(60)
    powers = np.arange(61)

    def series(x, order):
        k = powers[order:]
        return np.sum(numbers[k] / factorial(k - order) * x ** (k - order))

    first, second = jax.grad(bernoulli), jax.grad(jax.grad(bernoulli))
    for x in (0.0, 1e-12, -1e-5, 0.03, -0.0999999, 0.1, 0.1000001, -0.3, 1.0, -1.0):
        np.testing.assert_allclose(bernoulli(x), series(x, 0), rtol=1e-14)
        np.testing.assert_allclose(first(x), series(x, 1), rtol=1e-13)
        np.testing.assert_allclose(second(x), series(x, 2), rtol=1e-11)


def test_bernoulli_far_from_zero():
    for x in (3.0, -3.0, 50.0, -50.0):
        np.testing.assert_allclose(bernoulli(x), x / np.expm1(x), rtol=1e-15)
    for x in (1e3, 1e6):
        assert bernoulli(x) == 0.0 and bernoulli(-x) == x
        assert jax.grad(bernoulli)(x) == 0.0 and jax.grad(bernoulli)(-x) == -1.0


def test_the_pieces_of_bernoulli_are_no_kinks():
    assert len(switches(lambda p, v: bernoulli(v * p), 1.0, 2.0)) == 0
    # the value is there all the same, and kinks of what follows are seen
    (above,) = switches(lambda p, v: jnp.where(bernoulli(v * p) > 0.3, 1.0, v), 1.0, 2.0)
    assert above  # 0.313


# --------------------------------------------------------------------------------------------------------- units


def broken(**changes):
    """A model of one gate with one thing wrong in it."""

    class Broken(Organ):
        time: ClassVar[str] = "ms"

        class State(Vars):
            V: Scalar = state(-60.0, "mV", "potential")
            m: Scalar = state(0.1, "1", "gate")

        def rates(self, t: Scalar, x: State, u: object) -> State:
            steady = x.V if "steady" in changes else boltzmann(x.V / constant(1.0, "mV"), -40.0, 7.0)
            tau = changes.get("tau", lambda: constant(2.0, "ms"))()
            return self.State(V=constant(0.0, changes.get("zero", "mV/ms")), m=gate(x.m, steady, tau))

    return Broken


def test_units_of_gates_and_constants():
    check_units(Membrane)
    check_units(broken())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"steady": True},
            r"Broken.rates: `gate` of a state in 1 (a pure number) and a steady state in mV, which must be equal",
        ),
        ({"tau": lambda: 2.0}, "`gate` with a time constant in 1 (a pure number), which must be a time"),
        ({"tau": lambda: constant(2.0, "mV")}, "`gate` with a time constant in mV, which must be a time"),
        ({"tau": lambda: constant(2.0, "s")}, "the rate of state `m` must be in 1/ms, but is in 1/s."),
        ({"zero": "msec2"}, "Broken.rates: `constant`: Unit `msec2` is unknown."),
        ({"zero": "mV"}, "the rate of state `V` must be in mV/ms, but is in mV."),
    ],
)
def test_units_that_do_not_fit(changes, message):
    with pytest.raises(UnitError, match=re.escape(message)) as caught:
        check_units(broken(**changes))
    # the line is the model's, not that of the functions it calls
    assert "gate" not in message or re.search(r"test_gates\.py:\d+ \(.*rates\)\)$", str(caught.value))
