"""Units through loops, and through what there is no rule for."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vht.errors import UnitError
from vht.model import Organ, Scalar, Vars, check_units, constant, param, port, state
from vht.model.units import conversion, convert, parse, same


class Windkessel2(Organ):
    """Resistance parallel to compliance."""

    R: Scalar = param(1.0, "mmHg*s/mL", "peripheral resistance")
    C: Scalar = param(1.5, "mL/mmHg", "arterial compliance")

    class State(Vars):
        Pc: Scalar = state(80.0, "mmHg", "pressure across the compliance")

    class In(Vars):
        Q: Scalar = port("mL/s", "inflow", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(Pc=(u.Q - x.Pc / self.R) / self.C)


def variant(rates):
    return type("Variant", (Windkessel2,), {"rates": rates, "__module__": __name__})


def stacked(turn, start, xs=None, length=3, reverse=False):
    """Rates in which what a scan's turns leave behind comes back as its last carry does, through a second scan."""

    def rates(s, t, x, u):
        entries = None if xs is None else jnp.full(length, 1.0) * xs(s, x, u)
        _, ys = lax.scan(lambda c, e: turn(s, x, u, c, e), start(s, x, u), entries, length, reverse)
        total, _ = lax.scan(lambda c, y: (c + y, None), jnp.asarray(0.0), ys)
        return s.State(Pc=total / s.C)

    return variant(rates)


@pytest.mark.parametrize(
    "model",
    [
        stacked(lambda s, x, u, c, e: (0.9 * c, c), lambda s, x, u: u.Q),
        stacked(lambda s, x, u, c, e: (0.9 * c, c), lambda s, x, u: u.Q, reverse=True),
        stacked(lambda s, x, u, c, e: (0.9 * c, c), lambda s, x, u: u.Q, length=0),
        stacked(lambda s, x, u, c, e: (c + u.Q, c), lambda s, x, u: jnp.asarray(0.0)),  # gets its unit in a turn
        stacked(lambda s, x, u, c, e: (c + e / s.R, e / s.R), lambda s, x, u: u.Q, lambda s, x, u: x.Pc),
        stacked(lambda s, x, u, c, e: (c + e, c / s.R), lambda s, x, u: x.Pc, lambda s, x, u: x.Pc, reverse=True),
        # ... or from another one in the turn after
        stacked(lambda s, x, u, c, e: ((c[1], c[2], c[2] + u.Q), c[0]), lambda s, x, u: (jnp.asarray(0.0),) * 3),
    ],
)
def test_what_the_turns_of_a_scan_leave_behind_has_a_unit(model):
    check_units(model)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (stacked(lambda s, x, u, c, e: (c, c), lambda s, x, u: x.Pc), r"`Pc` must be in mmHg/s, but is in mmHg\*"),
        (stacked(lambda s, x, u, c, e: (c, e), lambda s, x, u: u.Q, lambda s, x, u: x.Pc), r"but is in mmHg\*"),
        (stacked(lambda s, x, u, c, e: (c, c * u.Q), lambda s, x, u: u.Q), r"must be in mmHg/s, but is in mL\*"),
        (stacked(lambda s, x, u, c, e: (c, 1.0 + c), lambda s, x, u: u.Q), r"`add` of 1 \(a .*\) and mL/s \(.*py:\d+"),
        # another unit each turn
        (
            stacked(lambda s, x, u, c, e: (c * s.R, c), lambda s, x, u: u.Q),
            r"`scan` of mL/s and .*test_unitcheck.py:\d+",
        ),
        # ... which only its second turn shows
        (
            stacked(lambda s, x, u, c, e: (c + u.Q, jnp.exp(c)), lambda s, x, u: jnp.asarray(0.0)),
            r"`exp` of .*, which must be a pure number",
        ),
        (
            stacked(lambda s, x, u, c, e: ((c[1], c[2], c[2] + x.Pc), c[0]), lambda s, x, u: (jnp.asarray(0.0),) * 3),
            r"must be in mmHg/s, but is in mmHg\*",
        ),
    ],
)
def test_what_the_turns_of_a_scan_leave_behind_is_checked(model, message):
    with pytest.raises(UnitError, match=message):
        check_units(model)


MATRIX = jnp.array([[2.0, 0.3], [0.3, 3.0]])


# most of JAX's functions of arrays; the first four call functions, written as jaxprs inside their equations
WITHOUT_A_RULE = {
    "custom_linear_solve": lambda v: jnp.linalg.solve(MATRIX, v)[0],
    "reduce": lambda v: lax.reduce(v, np.array(0.0), lambda a, b: a + b, (0,)),
    "reduce_window": lambda v: lax.reduce_window(v, np.array(1.0), lambda a, b: a * b + 0.0 * a, (2,), (1,), "VALID")[
        0
    ],
    "scatter-add": lambda v: jnp.zeros(2).at[0].add(v)[0],
    "cumsum": lambda v: jnp.cumsum(v)[1],
    "sort": lambda v: jnp.sort(v)[0],
    "fft": lambda v: jnp.real(jnp.fft.fft(v))[0],
    "conv_general_dilated": lambda v: jnp.convolve(v, jnp.ones(2))[1],
    "cholesky": lambda v: lax.linalg.cholesky(v * MATRIX, symmetrize_input=False)[0, 0],
    "lu": lambda v: lax.linalg.lu(v * MATRIX)[0][0, 0],
    "triangular_solve": lambda v: lax.linalg.triangular_solve(jnp.tril(MATRIX), v * MATRIX, left_side=True)[0, 0],
    "qr": lambda v: jnp.linalg.qr(v * MATRIX)[1][0, 0],
    "eigh": lambda v: lax.linalg.eigh(v * MATRIX, symmetrize_input=False)[1][0],
}


@pytest.mark.parametrize("name", WITHOUT_A_RULE)
def test_what_has_no_rule_takes_pure_numbers_alone(name):
    function = WITHOUT_A_RULE[name]
    wants_matrix = name in ("cholesky", "lu", "triangular_solve", "qr", "eigh")

    def given(number):
        return jnp.broadcast_to(number, (2, 2) if wants_matrix else () if name == "scatter-add" else (2,))

    check_units(variant(lambda s, t, x, u: s.State(Pc=function(given(u.Q * s.R / x.Pc)) * u.Q / s.C)))
    with pytest.raises(
        UnitError, match=rf"Variant.rates: `{name}` has no rule for units: divide .*test_unitcheck.py:\d+"
    ):
        check_units(variant(lambda s, t, x, u: s.State(Pc=function(given(u.Q)) / s.C)))
    # what comes out is a pure number
    with pytest.raises(UnitError, match="`Pc` must be in mmHg/s, but is in 1 "):
        check_units(variant(lambda s, t, x, u: s.State(Pc=function(given(t / (s.R * s.C))))))


def test_a_unit_hidden_in_what_is_called_is_found():
    def through(inverse):
        def rates(s, t, x, u):
            one = 0.0 * t / (s.R * s.C) + 1.0
            rate = lax.custom_linear_solve(lambda z: z * (one + 1.0), one, inverse, lambda f, b: b / f(1.0))
            return s.State(Pc=rate * x.Pc / (s.R * s.C))

        return variant(rates)

    check_units(through(lambda f, b: b / f(1.0)))
    with pytest.raises(UnitError, match="`custom_linear_solve` of a function whose result is in mL, not a pure number"):
        check_units(through(lambda f, b: constant(1.0, "mL") * b / f(1.0)))
    with pytest.raises(UnitError, match=r"`add` of mL and .*test_unitcheck.py:\d+"):
        check_units(through(lambda f, b: (constant(1.0, "mL") + b) / f(1.0)))


def test_a_loop_s_condition_has_units_too():
    def until(limit):
        def rates(s, t, x, u):
            pressure = lax.while_loop(lambda p: p > limit(s), lambda p: 0.5 * p, x.Pc)
            return s.State(Pc=(u.Q - pressure / s.R) / s.C)

        return variant(rates)

    check_units(until(lambda s: constant(10.0, "mmHg")))
    with pytest.raises(UnitError, match=r"`gt` of mmHg and .*test_unitcheck.py:\d+"):
        check_units(until(lambda s: s.C))


def test_temperatures_begin_where_they_begin():
    class Warm(Organ):
        outside: Scalar = param(37.0, "degC", "temperature outside")
        k: Scalar = param(1.0, "1/s", "rate")

        class State(Vars):
            T: Scalar = state(20.0, "degC", "temperature")

        def rates(self, t, x, u):
            return self.State(T=self.k * (self.outside - x.T))

    class Mixed(Warm):
        class State(Vars):
            T: Scalar = state(310.0, "kelvin", "temperature")

    check_units(Warm)
    with pytest.raises(UnitError, match=r"Mixed.rates: `sub` of °C and K"):
        check_units(Mixed)
    assert not same(parse("degC"), parse("kelvin")) and not same(parse("degC"), parse("delta_degC"))
    assert same(parse("delta_degC"), parse("kelvin")) and same(parse("degC/s"), parse("kelvin/s"))
    assert same(parse("degC"), parse("celsius")) and convert([37.0], "degC", "kelvin") == [310.15]
    for pair in (("degC", "delta_degC"), ("delta_degC", "degF")):
        with pytest.raises(
            UnitError, match=f"`{pair[0]}` cannot be converted to `{pair[1]}`: one has a zero of its own"
        ):
            conversion(*pair)
