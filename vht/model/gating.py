"""What equations of excitable cells are made of: gates, their sigmoid steady states, and their rates.

A gate is a call that stays visible in the jaxpr of `rates`, so that a solver can find it (`vht.solve.gates`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vht.model.variables import Scalar

# how the calls are found in a jaxpr; functions whose name begins with SMOOTH are smooth whatever they compare inside
GATE = "vht_gate"
SMOOTH = "vht_smooth"

# up to where the series stands in for the quotient: there both are exact to rounding, and their second derivatives to 4e-13
_SERIES = 0.1


def _call(name: str) -> Callable[[Callable[..., Scalar]], Callable[..., Any]]:
    """Decorate a function so that it appears as a call of this name in a jaxpr."""

    def decorate(function: Callable[..., Scalar]) -> Callable[..., Any]:
        function.__name__ = name
        return jax.jit(function)

    return decorate


@_call(GATE)
def gate(x: Scalar, steady: Scalar, tau: Scalar) -> Scalar:
    """Rate of a gating state that relaxes to a steady state: ``(steady - x) / tau`` (Hodgkin and Huxley 1952).

    Written in `rates` as ``self.State(m=gate(x.m, m_inf, tau_m), ...)``. A state written so, as it is, with neither the
    steady state nor the time constant depending on it, can be stepped exponentially (Rush and Larsen 1978).

    Args:
        x: the state itself.
        steady: where it goes, in the unit of `x`.
        tau: time constant, in the model's unit of time.
    """
    return (steady - x) / tau


def boltzmann(v: Scalar, half: Scalar, slope: Scalar) -> Scalar:
    """Boltzmann function ``1 / (1 + exp((half - v) / slope))``: rises from 0 to 1, or falls if `slope` is negative.

    Neither it nor its derivatives overflow, however far `v` is from `half`.

    Args:
        v: voltage, say.
        half: where the result is 1/2; in the unit of `v`.
        slope: by how much it changes there; in the unit of `v`.
    """
    return jax.nn.sigmoid((v - half) / slope)


@_call(f"{SMOOTH}_bernoulli")
def bernoulli(x: Scalar) -> Scalar:
    r"""Bernoulli function :math:`x / (e^x - 1)` of a pure number, right to rounding with its derivatives, also at 0.

    Rates such as :math:`a (v - b) / (e^{(v - b) / c} - 1)` are ``a * c * bernoulli((v - b) / c)``, and the Goldman-Hodgkin-
    Katz flux :math:`u (c_i e^u - c_o) / (e^u - 1)` is ``c_i * bernoulli(-u) - c_o * bernoulli(u)``.
    """
    near = jnp.abs(x) < _SERIES
    # the piece that is not taken is given an argument at which it is finite, and so are its derivatives
    small = jnp.where(near, x, 0.0)
    large = jnp.where(near, 1.0, x)
    square = small * small
    series = 1.0 - small / 2.0 + square / 12.0 * (1.0 - square / 60.0 * (1.0 - square / 42.0 * (1.0 - square / 40.0)))
    # x / (1 - exp(-x)) = x + x / (exp(x) - 1), so that no exponential grows
    size = jnp.abs(large)
    decaying = size / -jnp.expm1(-size)
    quotient = jnp.where(large > 0.0, decaying * jnp.exp(-size), decaying)
    return jnp.where(near, series, quotient)
