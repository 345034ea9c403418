"""What a class may not say of its variables and methods, as it would come to nothing; models with their own `__init__`."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vht
from vht.errors import ModelError
from vht.model import Body, LogNormal, Normal, Organ, Scalar, Uniform, Vars, param, port, state, with_parameters

TIMES = np.array([0.0, 1.0])


class Decay(Organ):
    k: Scalar = param(1.0, "1/s", "rate")

    class State(Vars):
        x: Scalar = state(1.0, "mg", "amount")

    class In(Vars):
        s: Scalar = port("mg/s", "source", default=0.0)

    def rates(self, t, x, u):
        return self.State(x=u.s - self.k * x.x)


def below(cls, **members):
    """A class derived from another, with what is written without an annotation."""
    return type("Derived", (cls,), members | {"__module__": __name__})


def made(**members):
    return below(Decay, **members)()


# ------------------------------------------------------------------------------------------ what is overridden


@pytest.mark.parametrize("other", [3.0, lambda self: 2.0, None])
def test_a_default_is_not_overridden_without_a_declaration(other):
    said = r"`k` of Derived is overridden by .*: declare it anew, `k: Scalar = param\(default, unit, meaning\)`, or give the"
    with pytest.raises(ModelError, match=said):
        made(k=other)
    with pytest.raises(ModelError, match=r"`x` of Derived.State is overridden by .*`x: Scalar = state\("):
        made(State=below(Decay.State, x=other))
    with pytest.raises(ModelError, match=r"`s` of Derived.In is overridden by .*`s: Scalar = port\("):
        made(In=below(Decay.In, s=other))


def test_a_mixin_overrides_nothing_either():
    class Fast:
        k = 3.0

    with pytest.raises(ModelError, match=r"`k` of Both is overridden by 3\.0"):
        type("Both", (Fast, Decay), {"__module__": __name__})()


def test_a_declaration_in_a_derived_class_counts():
    class Fast(Decay):
        k: Scalar = param(3.0, "1/s", "rate")

        class State(Decay.State):
            x: Scalar = state(5.0, "mg", "amount")

    found = vht.simulate(below(Fast)(), TIMES, method=vht.Tsit5(rtol=1e-10, atol=1e-12)).values["x"][0]
    np.testing.assert_allclose(found, [5.0, 5.0 * np.exp(-3.0)], rtol=1e-8)


# --------------------------------------------------------------------------------- names, groups, methods


@pytest.mark.parametrize("name", ["time", "citation", "State", "outputs", "initial"])
def test_a_parameter_has_no_name_with_another_meaning(name, unchecked_annotations):
    with pytest.raises(ModelError, match=f"`{name}` of Derived has another meaning in every model: give the parameter"):
        made(__annotations__={name: Scalar}, **{name: param(1.0, "1", "x")})


@pytest.mark.parametrize("group", ["State", "In", "Out", "Conserved", "Events"])
def test_a_group_is_derived_from_vars(group):
    plain = type(group, (), {"__annotations__": {"y": Scalar}, "y": state(1.0, "mg", "x")})
    for given in (plain, {"y": 1.0}):
        with pytest.raises(ModelError, match=rf"`{group}` of Derived must be a class `{group}\(Vars\)`, but got "):
            made(**{group: given})


@pytest.mark.parametrize("method", ["rates", "initial", "after"])
@pytest.mark.parametrize("given", [3.0, {"x": 5.0}])
def test_a_method_is_one(method, given):
    with pytest.raises(ModelError, match=f"`{method}` of Derived must be a method, but got {re.escape(repr(given))}"):
        made(**{method: given})


@pytest.mark.parametrize(
    ("method", "what", "group"),
    [
        ("outputs", "outputs", "Out"),
        ("conserved", "conserved quantities", "Conserved"),
        ("crossings", "events", "Events"),
        ("after", "events", "Events"),
    ],
)
def test_a_method_without_its_variables_is_refused(method, what, group):
    with pytest.raises(
        ModelError, match=rf"Derived defines `{method}`, so it must declare {what} in a class `{group}\(Vars\)`"
    ):
        made(**{method: lambda self, *_: None})


def test_a_derived_class_may_have_none_of_a_group():
    class Seen(Decay):
        class Out(Vars):
            y: Scalar = port("mg", "amount")

        def outputs(self, t, x, u):
            return self.Out(y=x.x)

    none = type("Out", (Vars,), {"__module__": __name__})
    found = vht.simulate(below(Seen, Out=none, outputs=lambda self, t, x, u: self.Out())(), TIMES)
    assert list(found.values) == ["x"]


# --------------------------------------------------------------------------------------- priors and bounds


@pytest.mark.parametrize(
    ("bounds", "prior"),
    [
        ((0.0, 2.0), Uniform(2.0, 3.0)),
        ((0.0, 2.0), Normal(-50.0, 1.0)),
        ((0.0, 2.0), Normal(50.0, 1.0)),
        ((0.0, 2.0), LogNormal(1e3, 0.1)),
        ((-1.0, 0.0), LogNormal(1.0, 1.0)),
    ],
)
def test_a_prior_lies_within_the_bounds(bounds, prior, unchecked_annotations):
    with pytest.raises(ModelError, match=r"`prior` must have a share within `bounds` \(.*for `q` of Derived"):
        made(__annotations__={"q": Scalar}, q=param(bounds[0], "1", "x", bounds=bounds, prior=prior))


# ------------------------------------------------------------------------------------------- own `__init__`


class HalfLife(Decay):
    """Takes another number than its parameter."""

    def __init__(self, half: float) -> None:
        self.k = np.log(2.0) / half


class Later(Decay):
    def __post_init__(self):
        self.k = 2.0 * self.k


@pytest.mark.parametrize("model", [HalfLife(0.25), Later(0.5 * np.log(16.0))])
def test_a_model_is_solved_with_the_parameters_it_has(model):
    tight = vht.Tsit5(rtol=1e-10, atol=1e-12)
    assert model.k == pytest.approx(np.log(16.0))
    assert with_parameters(model, {}).k == model.k and with_parameters(model, {"k": 3.0}).k == 3.0
    assert vht.simulate(model, TIMES, method=tight).values["x"][0, 1] == pytest.approx(1 / 16, rel=1e-8)
    body = Body({"one": model})
    assert vht.simulate(body, TIMES, method=tight).values["one.x"][0, 1] == pytest.approx(1 / 16, rel=1e-8)


def test_a_check_of_values_looks_at_values(unchecked_annotations):
    class Positive(Decay):
        def __check_init__(self):
            if self.k <= 0.0:
                raise ValueError("k must be positive")

    class Later(Decay):
        def __post_init__(self):
            if self.k <= 0.0:
                raise ValueError("k must be positive")

    for cls in (Positive, Later):
        found = vht.simulate(cls(), TIMES, twins={"k": [1.0, 2.0]}).values["x"]
        np.testing.assert_allclose(found[:, 1], np.exp([-1.0, -2.0]), rtol=1e-4)
        with pytest.raises(ValueError, match="k must be positive"):
            cls(k=-1.0)
    with pytest.raises(ValueError, match="k must be positive"):
        with_parameters(Positive(), {"k": -1.0})
    assert float(jax.grad(lambda k: with_parameters(Positive(), {"k": k}).k ** 2)(jnp.float32(3.0))) == 6.0
    with pytest.raises(ModelError, match=r"A parameter is one number, but got an array of shape \(3,\) for `k`"):
        with_parameters(Positive(), {"k": np.ones(3)})
