"""The first model of a heart cell: Purkinje fibre of Noble 1962."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, bernoulli, boltzmann, constant, gate, param, port, state

_SOURCE = "noble1962"
# mV: a solver's trial step may leave the range of voltages that a membrane survives, and exponentials must stay finite
_FURTHEST = 250.0


def _conductance(value: float, meaning: str) -> Any:
    prior = LogNormal(value, 0.2)
    return param(value, "mS/cm^2", meaning, bounds=(value / 5, value * 5), prior=prior, source=_SOURCE)


def _potential(value: float, meaning: str) -> Any:
    return param(value, "mV", meaning, bounds=(value - 40.0, value + 40.0), source=_SOURCE)


class Noble1962(Organ):
    r"""Action and pacemaker potential of Purkinje fibres, after Hodgkin and Huxley (Noble 1962; 4 states).

    .. math::
        C_m V' = -(i_{Na} + i_K + i_{Leak} + i_{stim}), \quad i_{Na} = (g_{Na} m^3 h + g_{Nab})(V - E_{Na}), \quad
        i_K = (g_{K1}(V) + g_{K2} n^4)(V - E_K), \quad i_{Leak} = g_L (V - E_L)

    With the default leak the fibre beats by itself; a larger one silences it. Potentials are inside minus outside, as in the
    model's CellML encoding, whose initial values these are. Rates at voltages beyond 250 mV from zero are those at 250 mV.

    Verified against CVODE on the equations written again (2e-4 mV, 2e-4 ms of APD90; tests/test_heart_cells.py). It counts no
    ions, so there is nothing to conserve.
    """

    time: ClassVar[str] = "ms"
    citation: ClassVar[str] = _SOURCE

    Cm: Scalar = param(12.0, "uF/cm^2", "membrane capacitance", bounds=(1.0, 30.0), source=_SOURCE)
    g_Na: Scalar = _conductance(400.0, "maximal conductance of the sodium channel")
    g_Nab: Scalar = _conductance(0.14, "sodium conductance that does not depend on voltage")
    E_Na: Scalar = _potential(40.0, "reversal potential of sodium")
    g_K1: Scalar = _conductance(1.2, "inward rectifying potassium conductance")
    g_K1b: Scalar = _conductance(0.015, "potassium conductance that rises with depolarisation")
    g_K2: Scalar = _conductance(1.2, "maximal conductance of the delayed potassium channel")
    E_K: Scalar = _potential(-100.0, "reversal potential of potassium")
    g_L: Scalar = _conductance(0.075, "leak conductance")
    E_L: Scalar = _potential(-60.0, "reversal potential of the leak")

    class State(Vars):
        V: Scalar = state(-81.4147357, "mV", "transmembrane potential")
        m: Scalar = state(0.0438066719, "1", "activation of the sodium channel")
        h: Scalar = state(0.854216896, "1", "inactivation of the sodium channel")
        n: Scalar = state(0.593071543, "1", "activation of the delayed potassium channel")

    class In(Vars):
        stimulus: Scalar = port("uA/cm^2", "stimulus current; negative depolarises", kind="flow")

    class Out(Vars):
        potential: Scalar = port("mV", "transmembrane potential")
        i_Na: Scalar = port("uA/cm^2", "sodium current")
        i_K: Scalar = port("uA/cm^2", "potassium current")
        i_Leak: Scalar = port("uA/cm^2", "leak current")
        i_ion: Scalar = port("uA/cm^2", "total ionic current, without the stimulus")

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        return self._currents(x, _number(x.V))

    def _currents(self, x: State, v: Scalar) -> Out:
        rectified = self.g_K1 * jnp.exp((-v - 90.0) / 50.0) + self.g_K1b * jnp.exp((v + 90.0) / 60.0)
        i_Na = (self.g_Na * x.m**3 * x.h + self.g_Nab) * (x.V - self.E_Na)
        i_K = (rectified + self.g_K2 * x.n**4) * (x.V - self.E_K)
        i_Leak = self.g_L * (x.V - self.E_L)
        return self.Out(potential=x.V, i_Na=i_Na, i_K=i_K, i_Leak=i_Leak, i_ion=i_Na + i_K + i_Leak)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        v, ms = _number(x.V), constant(1.0, "ms")
        alpha_m, beta_m = 1.5 * bernoulli((-v - 48.0) / 15.0), 0.6 * bernoulli((v + 8.0) / 5.0)
        alpha_h, beta_h = 0.17 * jnp.exp((-v - 90.0) / 20.0), boltzmann(v, -42.0, 10.0)
        alpha_n, beta_n = 0.001 * bernoulli((-v - 50.0) / 10.0), 0.002 * jnp.exp((-v - 90.0) / 80.0)
        return self.State(
            V=-(self._currents(x, v).i_ion + u.stimulus) / self.Cm,
            m=gate(x.m, alpha_m / (alpha_m + beta_m), ms / (alpha_m + beta_m)),
            h=gate(x.h, alpha_h / (alpha_h + beta_h), ms / (alpha_h + beta_h)),
            n=gate(x.n, alpha_n / (alpha_n + beta_n), ms / (alpha_n + beta_n)),
        )


def _number(V: Scalar) -> Scalar:
    """The potential that rates depend on, in mV."""
    return jnp.clip(V / constant(1.0, "mV"), -_FURTHEST, _FURTHEST)
