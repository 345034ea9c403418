"""Declaring models: what is found, what is refused and in which words; units of equations; twins; priors."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
from jax import lax
from scipy import stats

import vht
from vht.errors import DataError, ModelError, UnitError
from vht.model import (
    LogNormal,
    Normal,
    Organ,
    Scalar,
    Twins,
    Uniform,
    Vars,
    check_units,
    initial_state,
    inputs,
    outputs,
    param,
    parameters,
    port,
    state,
    states,
    with_parameters,
)
from vht.model.units import conversion, convert


class Windkessel3(Organ):
    """Arterial windkessel: characteristic resistance, then resistance parallel to compliance."""

    R: Scalar = param(1.0, "mmHg*s/mL", "peripheral resistance", bounds=(0.3, 3.0), prior=LogNormal(1.0, 0.3))
    C: Scalar = param(1.5, "mL/mmHg", "arterial compliance", bounds=(0.3, 4.0), prior=LogNormal(1.5, 0.3))
    Zc: Scalar = param(0.05, "mmHg*s/mL", "characteristic resistance", bounds=(0.01, 0.2), source="westerhof2009")

    class State(Vars):
        Pc: Scalar = state(80.0, "mmHg", "pressure across the compliance")

    class In(Vars):
        Q: Scalar = port("mL/s", "inflow", kind="flow")

    class Out(Vars):
        P: Scalar = port("mmHg", "inlet pressure")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(Pc=(u.Q - x.Pc / self.R) / self.C)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        return self.Out(P=x.Pc + self.Zc * u.Q)


# ------------------------------------------------------------------------------------------- declarations


def test_what_a_model_declares():
    model = Windkessel3(R=1.2)
    assert list(parameters(model)) == ["R", "C", "Zc"] and list(states(model)) == ["Pc"]
    assert list(inputs(model)) == ["Q"] and list(outputs(Windkessel3)) == ["P"]
    r = parameters(model)["R"]
    assert (r.unit, r.default, r.bounds, r.meaning) == ("mmHg*s/mL", 1.0, (0.3, 3.0), "peripheral resistance")
    assert inputs(model)["Q"].port == "flow" and parameters(model)["Zc"].source == "westerhof2009"
    assert initial_state(model).Pc == 80.0
    assert with_parameters(model, {"C": 2.0}).C == 2.0 and model.C == 1.5


def test_a_model_is_traced_with_its_parameters():
    def slope(r):
        model = with_parameters(Windkessel3(), {"R": r})
        return model.rates(0.0, model.State(), model.In(Q=80.0)).Pc

    assert float(jax.grad(slope)(1.0)) == pytest.approx(80.0 / 1.5)


def broken(**body):
    """A class made of `body` on top of a sound model, and its first use."""
    annotations = {name: Scalar for name in body if name not in ("State", "In", "Out", "rates", "time")}
    cls = type("Broken", (Windkessel3,), body | {"__annotations__": annotations, "__module__": __name__})
    return cls()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda: {"k": param(1.0, "", "x")}, r'A unit is a text such as "mL/s".*`k` of Broken'),
        (lambda: {"k": param(1.0, "mL", "")}, "A meaning is a line of text"),
        (lambda: {"k": param(None, "mL", "x")}, "A default is a number, but got None for `k` of Broken"),
        (
            lambda: {"k": param(1.0, "mL", "x", bounds=(3.0, 0.3))},
            r"`bounds` must be increasing, but got \(3.0, 0.3\) for `k`",
        ),
        (
            lambda: {"k": param(9.0, "mL", "x", bounds=(0.3, 3.0))},
            r"default must lie inside `bounds` \(0.3, 3.0\), but got 9.0",
        ),
        (lambda: {"k": param(1.0, "mL", "x", prior=3.0)}, "`prior` must be Normal, LogNormal or Uniform"),
        (lambda: {"k": state(1.0, "mL", "x")}, "declared with `param.*`, but `k` of Broken uses `state`"),
        (lambda: {"Pc": param(1.0, "mL", "x")}, "`Pc` of Broken is declared twice, as parameter and as state"),
        (lambda: {"k": 2.0}, "declared with `param.*`, but `k` of Broken is not"),
    ],
)
def test_malformed_parameters(body, message, unchecked_annotations):
    with pytest.raises(ModelError, match=message):
        broken(**body())


def test_a_lag_names_a_parameter():
    class In(Vars):
        Q: Scalar = port("mL/s", "inflow", lag="tlg")

    with pytest.raises(ModelError, match="no parameter for `lag` of input `Q` `tlg`"):
        broken(In=In)


def test_a_model_needs_rates_and_states():
    class Empty(Organ):
        class State(Vars):
            V: Scalar = state(1.0, "mL", "x")

    with pytest.raises(ModelError, match="Empty must define `rates"):
        Empty()

    class Stateless(Organ):
        def rates(self, t, x, u):
            return x

    with pytest.raises(ModelError, match="at least one state"):
        Stateless()


def test_arrays_and_wrong_names_are_refused():
    with pytest.raises(ModelError, match=r"array of shape \(3,\) for `R`.*`Twins`"):
        Windkessel3(R=np.ones(3))
    with pytest.raises(ModelError, match=r"no parameter `r`. Did you mean `R`\?"):
        with_parameters(Windkessel3(), {"r": 1.0})


# ------------------------------------------------------------------------------------------- units of equations


def variant(rates=None, outputs_=None, **more):
    body = dict(more)
    if rates is not None:
        body["rates"] = rates
    if outputs_ is not None:
        body["outputs"] = outputs_
    return type("Variant", (Windkessel3,), body | {"__module__": __name__})


def test_sound_models_pass():
    check_units(Windkessel3)
    check_units(Windkessel3())


@pytest.mark.parametrize(
    "rates",
    [
        lambda s, t, x, u: s.State(Pc=jnp.where(x.Pc > 0, u.Q, 0.0) / s.C),
        lambda s, t, x, u: s.State(Pc=jnp.maximum(u.Q, 0) / s.C - jnp.abs(x.Pc) / (s.R * s.C)),
        lambda s, t, x, u: s.State(Pc=jnp.sqrt(u.Q**2) / s.C * jnp.exp(-t / (s.R * s.C))),
        lambda s, t, x, u: s.State(Pc=jnp.clip(u.Q, 0.0, jnp.inf) / s.C * jnp.tanh(x.Pc / (s.R * u.Q))),
        lambda s, t, x, u: s.State(Pc=lax.cond(x.Pc > 0, lambda q: q, lambda q: 2 * q, u.Q) / s.C),
        lambda s, t, x, u: s.State(Pc=lax.fori_loop(0, 3, lambda i, a: a + u.Q, 0.0) / s.C),
        lambda s, t, x, u: s.State(Pc=jnp.mod(t, s.R * s.C) * x.Pc / (s.R * s.C) ** 2),
        lambda s, t, x, u: s.State(Pc=(x.Pc / s.R) ** 1.0 / s.C + jnp.power(u.Q * u.Q, 0.5) / s.C),
    ],
)
def test_sound_equations_pass(rates):
    check_units(variant(rates))


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (
            lambda s, t, x, u: s.State(Pc=(u.Q - x.Pc) / s.C),
            r"Variant.rates: `sub` of mL/s and mmHg \(.*test_model.py:\d+",
        ),
        (lambda s, t, x, u: s.State(Pc=x.Pc), "rate of state `Pc` must be in mmHg/s, but is in mmHg"),
        (lambda s, t, x, u: s.State(Pc=(u.Q + 5.0) / s.C), r"`add` of mL/s and 1 \(a pure number\)"),
        (lambda s, t, x, u: s.State(Pc=jnp.exp(x.Pc) * u.Q / s.C), "`exp` of mmHg, which must be a pure number"),
        (lambda s, t, x, u: s.State(Pc=jnp.where(x.Pc > 1.0, 0.0, u.Q) / s.C), "`gt` of mmHg and 1"),
        (lambda s, t, x, u: s.State(Pc=jnp.where(u.Q > 0, u.Q, x.Pc) / s.C), "`select_n` of"),
        (lambda s, t, x, u: s.State(Pc=u.Q / s.C * x.Pc**s.R), "exponent in"),
        (lambda s, t, x, u: u, "must return a `State`, but got In"),
    ],
)
def test_unsound_equations_say_where(rates, message):
    with pytest.raises(UnitError, match=message):
        check_units(variant(rates))


def test_equal_units_not_only_equal_dimensions():
    class In(Vars):
        Q: Scalar = port("L/min", "inflow")

    with pytest.raises(UnitError, match="`sub` of L/min and mL/s"):
        check_units(variant(In=In))


def test_numbers_that_are_captured_are_pure_numbers():
    # arrays from outside the method become constants of its jaxpr, of a nested call's, and of a branch's
    third, nought = jnp.asarray(1.0 / 3.0), jnp.asarray(0.0)

    class Leak(Organ):
        """A tank that leaks."""

        time: ClassVar[str] = "s"
        k: Scalar = param(1.0, "1/s", "rate")

        class State(Vars):
            x: Scalar = state(1.0, "mL", "level")

        def rates(self, t, x, u):
            once = jax.jit(lambda v: v * third + nought)(x.x)
            twice = jax.lax.cond(x.x > nought, lambda v: v * third, lambda v: v + nought, once)
            return self.State(x=-self.k * twice)

    check_units(Leak)

    class Mixed(Leak):
        """The same, and a number added to a volume."""

        def rates(self, t, x, u):
            return self.State(x=-self.k * (x.x + third))

    with pytest.raises(UnitError, match="`add` of mL and"):
        check_units(Mixed)


def test_units_of_outputs_initial_values_and_time():
    with pytest.raises(UnitError, match=r"Variant.outputs: the output `P` must be in mmHg, but is in mL/s"):
        check_units(variant(outputs_=lambda s, t, x, u: s.Out(P=u.Q)))
    with pytest.raises(UnitError, match="initial value of state `Pc` must be in mmHg, but is in mL/mmHg"):
        check_units(variant(initial=lambda s: s.State(Pc=s.C)))
    with pytest.raises(UnitError, match="rate of state `Pc` must be in mmHg/min"):
        check_units(variant(time="min"))
    with pytest.raises(UnitError, match="Variant, `time`: Unit `fortnite` is unknown"):
        check_units(variant(time="fortnite"))


def test_unknown_unit_suggests():
    class Misspelt(Windkessel3):
        k: Scalar = param(1.0, "mmHh", "x")

    with pytest.raises(UnitError, match=r"Misspelt, `k`: Unit `mmHh` is unknown. Did you mean `mmHg`\?"):
        check_units(Misspelt)


@pytest.mark.parametrize(
    ("found", "wanted", "value", "expected"),
    [
        ("mmHg", "kPa", 1.0, 0.133322387415),
        ("degC", "kelvin", 37.0, 310.15),
        ("mg/dL", "g/L", 100.0, 1.0),
        ("mU/L", "uU/mL", 7.0, 7.0),
        ("bpm", "1/s", 72.0, 1.2),
        ("%", "1", 50.0, 0.5),
        ("L/min", "mL/s", 6.0, 100.0),
        ("cmH2O", "mmHg", 1.0, 0.7355591),
        ("µg", "mg", 1.0, 1e-3),
        ("mEq/L", "mmol/L", 140.0, 140.0),
    ],
)
def test_conversions(found, wanted, value, expected):
    assert convert(value, found, wanted) == pytest.approx(expected, rel=1e-6)


def test_units_that_do_not_convert():
    with pytest.raises(UnitError, match=r"`mg` \(mass\) cannot be converted to `mmHg` \(pressure\)"):
        conversion("mg", "mmHg")
    for nonsense in ("mmHh", "[[", "3 +", "mg//L", "mg/", "lambda"):
        with pytest.raises(UnitError):
            conversion(nonsense, "mg")


# ------------------------------------------------------------------------------------------- priors and twins

PRIORS = [
    (Normal(2.0, 0.5), stats.norm(2.0, 0.5)),
    (LogNormal(2.0, 0.5), stats.lognorm(0.5, scale=2.0)),
    (Uniform(1.0, 4.0), stats.uniform(1.0, 3.0)),
]


@pytest.mark.parametrize(("prior", "known"), PRIORS)
def test_priors_agree_with_scipy(prior, known):
    x = np.array([0.5, 1.2, 2.0, 3.7, 6.0])
    np.testing.assert_allclose(prior.log_density(x), known.logpdf(x), rtol=1e-12)
    np.testing.assert_allclose(prior.cdf(x), known.cdf(x), rtol=1e-9)
    p = np.array([0.01, 0.5, 0.99])
    np.testing.assert_allclose(prior.quantile(p), known.ppf(p), rtol=1e-9)
    draws = np.asarray(prior.sample(jax.random.key(0), (2000,)))
    assert stats.kstest(draws, known.cdf).pvalue > 1e-3


def test_priors_refuse_nonsense():
    for build in (lambda: Normal(0.0, 0.0), lambda: LogNormal(-1.0, 1.0), lambda: Uniform(2.0, 1.0)):
        with pytest.raises(ModelError, match="must be"):
            build()


def test_twins_hold_columns():
    twins = Twins(Windkessel3, {"R": [1.0, 2.0, np.nan], "C": np.ones(3)}, names=["a", "b", "c"])
    assert len(twins) == 3 and list(twins) == ["a", "b", "c"] and "3 twins" in repr(twins)
    part = twins[[2, 0]]
    assert part.names == ("c", "a") and part.columns["R"][1] == 1.0
    assert twins[1:].names == ("b", "c") and len(Twins(Windkessel3, {})) == 0


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        ({"r": [1.0]}, None, r"no parameter `r`. Did you mean `R`\?"),
        ({"R": [1.0], "C": [1.0, 2.0]}, None, "same length, but got {'R': 1, 'C': 2}"),
        ({"R": [[1.0]]}, None, r"shape \(1, 1\) for `R`"),
        ({"R": [1.0, 2.0]}, ["a"], "'names': 1"),
        ({"R": [1.0, 2.0]}, ["a", "a"], "`a` stands for several"),
        ({"R": ["a"]}, None, r"`parameters.R` must be numbers, .* but got \['a'\]"),
        ({"R": np.zeros(1, "timedelta64[s]")}, None, "`parameters.R` must be numbers, .* model's units"),
        ({"R": pint.Quantity([1.0], "mmHg*s/mL")}, None, "`parameters.R` must be numbers, .* model's units"),
        ([1.0, 2.0], None, "`columns` must hold columns by name, but got list"),
    ],
)
def test_twins_refuse(columns, names, message, unchecked_annotations):
    with pytest.raises(ModelError, match=message):
        Twins(Windkessel3, columns, names)


def test_values_outside_bounds_are_named():
    twins = Twins(
        Windkessel3, {"R": [0.3, 0.29, np.nan, 3.0, 1e30], "C": np.ones(5), "Zc": [0.05, 0.05, -1.0, 0.05, 0.05]}
    )
    found = twins.outside_bounds()
    assert {name: which.tolist() for name, which in found.items()} == {"R": [1, 2, 4], "Zc": [2]}


def test_sampled_twins_follow_the_prior_within_bounds():
    twins = Twins.sample(Windkessel3, 4000, seed=1)
    r = twins.columns["R"]
    assert list(twins.columns) == ["R", "C"] and r.min() >= 0.3 and r.max() <= 3.0
    assert abs(np.log(r).std() - 0.3) < 0.02 and abs(np.median(r) - 1.0) < 0.03
    assert np.array_equal(
        Twins.sample(Windkessel3, 10, seed=1).columns["R"], Twins.sample(Windkessel3, 10, seed=1).columns["R"]
    )
    assert len(Twins.sample(Windkessel3, 0)) == 0
    with pytest.raises(ModelError, match="`Zc` has no prior"):
        Twins.sample(Windkessel3, 3, only=["Zc"])
    spread = Twins.sample(Windkessel3(Zc=0.1), 2000, spread=0.1, only=["Zc"]).columns["Zc"]
    assert abs(np.log(spread / 0.1).std() - 0.1) < 0.01


@pytest.mark.parametrize("own", [0.4, 3.0, 0.2])
def test_twins_around_a_value_do_not_pile_up_at_its_bounds(own):
    # bounds are (0.3, 3.0): beside one, at one, and a value beyond them, which is drawn around without them
    drawn = Twins.sample(Windkessel3(R=own), 2000, seed=2, spread=0.5, only=["R"]).columns["R"]
    ends = np.log(np.array([0.3, 3.0] if own >= 0.3 else [1e-9, 1e9]) / own) / 0.5
    assert np.unique(drawn).size == 2000
    assert stats.kstest(np.log(drawn / own) / 0.5, stats.truncnorm(*ends).cdf).pvalue > 0.01


def test_nothing_spreads_around_zero():
    assert (Twins.sample(Windkessel3(Zc=0.0), 3, spread=0.5, only=["Zc"]).columns["Zc"] == 0.0).all()
    assert (Twins.sample(Windkessel3(Zc=0.1), 3, spread=0.0, only=["Zc"]).columns["Zc"] == 0.1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "`n` must not be negative, but got -1"),
        ({"n": 2.5}, "`n` must be a whole number, but got 2.5"),
        ({"seed": -1}, "`seed` must not be negative, but got -1"),
        ({"spread": -1.0}, "`spread` must be zero or a positive number, but got -1"),
        ({"spread": "a"}, "`spread` must be zero or a positive number, but got 'a'"),
    ],
)
def test_impossible_samples_are_refused(arguments, message, unchecked_annotations):
    with pytest.raises(ModelError, match=message):
        Twins.sample(Windkessel3, **{"n": 3, **arguments})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_twins_through_a_file(tmp_path, suffix):
    twins = Twins.sample(Windkessel3, 5, seed=3)
    path = tmp_path / f"twins{suffix}"
    twins.write(path)
    back = Twins.read(Windkessel3, path)
    assert back.names == twins.names
    for name, column in twins.columns.items():
        np.testing.assert_allclose(back.columns[name], column, rtol=1e-15)


def test_twins_convert_units_and_say_what_is_wrong(tmp_path):
    path = tmp_path / "twins.csv"
    path.write_text("twin,R [kPa*s/L]\nx,133.322387415\n")
    assert Twins.read(Windkessel3, path).columns["R"][0] == pytest.approx(1.0, rel=1e-9)
    path.write_text("twin,R [mg]\nx,1\n")
    with pytest.raises(UnitError, match="measure different things"):
        Twins.read(Windkessel3, path)
    path.write_text("twin,R\nx,high\n")
    with pytest.raises(DataError, match="column `R`: every cell must be a number"):
        Twins.read(Windkessel3, path)
    path.write_text("name,R\nx,1\n")
    with pytest.raises(DataError, match="has a column `twin`"):
        Twins.read(Windkessel3, path)
    with pytest.raises(DataError, match="no such file"):
        Twins.read(Windkessel3, tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder; give a table of twins"):
        Twins.read(Windkessel3, tmp_path)
    path.write_text("twin,R [mmHg*s/mL],R [kPa*s/L]\nx,1,133\n")
    with pytest.raises(DataError, match=r"column `R \[kPa\*s/L\]`: there is a column of `R` before"):
        Twins.read(Windkessel3, path)
    path.write_text("twin,R,R\nx,1,2\n")
    with pytest.raises(DataError, match="column `R`: there is a column of `R` before"):
        Twins.read(Windkessel3, path)
    with pytest.raises(DataError, match="cannot be read"):
        Twins.read(Windkessel3, tmp_path / ("long" * 100))


def test_class_attributes_are_not_parameters():
    class Timed(Windkessel3):
        note: ClassVar[str] = "a remark"

    assert list(parameters(Timed)) == ["R", "C", "Zc"]


class Heated(Organ):
    """A body in a room: what surrounds it is an input, which has a value where nothing drives it."""

    class State(Vars):
        T: Scalar = state(37.0, "K", "its temperature")

    class In(Vars):
        room: Scalar = port("K", "temperature of the room", default=20.0)
        power: Scalar = port("K/s", "heating", kind="flow")

    k: Scalar = param(0.5, "1/s", "rate of cooling")

    def rates(self, t, x, u):
        return self.State(T=self.k * (u.room - x.T) + u.power)


def test_an_input_has_a_default():
    times = np.linspace(0.0, 4.0, 9)
    cooled = 20.0 + 17.0 * np.exp(-0.5 * times)
    found = vht.simulate(Heated(), times, method=vht.Tsit5(rtol=1e-9, atol=1e-9))
    np.testing.assert_allclose(found.values["T"][0], cooled, rtol=1e-8)
    signal = vht.Schedule(
        signals={"room": vht.Signal(time=[0.0], value=[30.0])}, doses={"power": vht.Doses([0.0], [3.0])}
    )
    found = vht.simulate(Heated(), times, schedule=signal, method=vht.Tsit5(rtol=1e-9, atol=1e-9))
    np.testing.assert_allclose(found.values["T"][0, 1:], (30.0 + 10.0 * np.exp(-0.5 * times))[1:], rtol=1e-8)
    with pytest.raises(ModelError, match=r"`room` of `Heated` then is 20: give it a `Signal`"):
        vht.simulate(Heated(), times, schedule=vht.Schedule(doses={"room": vht.Doses([0.0], [3.0])}))


@pytest.mark.parametrize(("kind", "default"), [("flow", 1.0), ("signal", float("nan"))])
def test_a_default_that_makes_no_sense(kind, default):
    class Bad(Organ):
        class State(Vars):
            x: Scalar = state(1.0, "1", "a state")

        class In(Vars):
            u: Scalar = port("1", "an input", kind=kind, default=default)

        def rates(self, t, x, u):
            return self.State(x=-x.x)

    with pytest.raises(ModelError, match=r"`u` of Bad\.In"):
        inputs(Bad)
