"""What a class may not say of its variables, as it would come to nothing."""

from __future__ import annotations

import numpy as np
import pytest

import vht
from vht.errors import ModelError
from vht.model import LogNormal, Normal, Organ, Scalar, Uniform, Vars, param, port, state

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
