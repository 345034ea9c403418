r"""The exponential method in the loop: Rush-Larsen steps of second order, and their companion of third order.

A gate relaxes to its steady state with its time constant. These move slowly while the gate may be fast, so its equation is
split, ``x' = a x + N(t, x)`` with ``a = -1 / tau`` held as it was at the beginning of the step, and solved exactly for an N
that is a polynomial of time (S. Rush, H. Larsen, IEEE Trans. Biomed. Eng. 25 (1978) 389-392, with a constant). For all other
states a = 0, which makes the step that of a Runge-Kutta method. With z = a h, :math:`\varphi_k(z) = \int_0^1 e^{(1-s) z}
s^{k-1} / (k-1)! ds`, f the rates at the beginning, at the middle and at the end of the step

    x_m = x + phi_1(z/2) h f / 2 + (gates) phi_2(z/2) c / 2        c = h (N_c - N),  d = h (N_m - N)
    x_e = x + phi_1 h f + 2 d, of gates x + phi_1 h f + 2 phi_2 d  e = h (N_e - N)
    second order: x + phi_1 h f + 2 phi_2 d
    third order:  x + phi_1 h f + phi_2 (4 d - e) + 4 phi_3 (e - 2 d)

Steps of fixed size take the former, of two evaluations of the rates: with c = 0 the midpoint rule of M. Hochbruck, A.
Ostermann, Exponential integrators, Acta Numerica 19 (2010) 209-286, section 2.3. Adaptive steps take the latter, of three,
with the former's difference from it as the estimate of the error: with c = 0 and ``2 phi_1 d`` in x_e it is ETD3RK of S. M.
Cox, P. C. Matthews, Exponential time differencing for stiff systems, J. Comput. Phys. 176 (2002) 430-455, section 2.

The changes are for gates much faster than the step. Such a gate follows the potential, but in both methods x_m has it where
the potential was at the beginning, which costs the potential an order. So N_c is taken where the other states are at the
middle, with gates after ``phi_1(z/2) h f / 2`` only; it needs no more exponentials where gates depend on other states alone.
The orders stay, since all second-order terms of a gate's stages then are those of the solution. On Noble 1962 errors fell by
15 to 2,000 times at tolerances of 1e-3 to 1e-7, on ten Tusscher 2006 by 4 to 20.

Measured on ten Tusscher 2006 and not taken: gates from coefficients held at the middle as in the second-order method of J.
Sundnes, R. Artebrant, O. Skavhaug, A. Tveito, IEEE Trans. Biomed. Eng. 56 (2009) 2546-2548 (1.5 times the error at equal
steps, before the change above; of first order inside a step); its linearisation of the other states by the Jacobian's diagonal
(a fifth fewer adaptive steps, 15 to 90 times the error; where a Markov chain beside the gates is fast, as in O'Hara-Rudy's
CiPA version, stable at any step but useless at 0.02 ms); an estimate by the embedded first order (10 times the steps for an
error of 1e-4). The methods of M. Perego, A. Veneziani, Electron. Trans. Numer. Anal. 35 (2009) 234-256 and of Y. Coudiere, C.
Douanla-Lontsi, C. Pierre (2018) take earlier steps into account, and would start again at every dose and sample of an input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vht.solve.explicit import Point, SideBySide
from vht.solve.gates import gates_of
from vht.solve.propagate import Span, Step
from vht.solve.sensitivity import Augmented, own, primals_of
from vht.solve.steppers import underestimate
from vht.solve.system import Named, Scalar, Switches, System, Values
from vht.solve.twin import Inputs, Twin

NODES = (0.0, 0.5, 1.0)
# of the states that are no gates
WEIGHTS = (1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0)
ERROR = (1.0 / 6.0, -1.0 / 3.0, 1.0 / 6.0)
ORDER = 3

# up to where series stand in for the quotients, which lose digits near 0, and how many terms make them exact to rounding
_SERIES, _TERMS = 0.5, 12


class Part(NamedTuple):
    """One step of the states, or of the sensitivities along one direction.

    Attributes:
        begin: values at its beginning.
        end: values at its end.
        error: estimate of their error; of no meaning for fixed steps.
        z: step over time constant, negative; None for states that are no gates.
        first, second, third: what is multiplied with :math:`\\varphi_1, \\varphi_2, \\varphi_3`.
    """

    begin: Values
    end: Values
    error: Values
    z: tuple[Scalar | None, ...]
    first: Values
    second: Values
    third: Values


class _Inner(NamedTuple):
    y: Values
    parts: tuple[Part, ...]


class Phi(NamedTuple):
    r"""The functions :math:`\varphi_k(z)`, 1 / k! at 0; the first two at z/2 as well."""

    half_first: Scalar | float = 1.0
    half_second: Scalar | float = 1.0 / 2.0
    first: Scalar | float = 1.0
    second: Scalar | float = 1.0 / 2.0
    third: Scalar | float = 1.0 / 6.0


def phi(z: Scalar | None) -> Phi:
    r"""Exponentials' relatives, right to rounding with their derivatives at any z, 0 among them.

    Found at z/2 by their series or quotients, then doubled (N. J. Higham, Functions of Matrices, SIAM 2008, section 10.7.4):
    sums of positive terms.

    Args:
        z: step over time constant; None for 0.
    """
    return Phi() if z is None else _phi(z)


@jax.jit
def _phi(z: Scalar) -> Phi:
    # a call, so that it is traced once, and so are its derivatives: a model has dozens of gates
    w = 0.5 * z
    near = abs(w) < _SERIES
    # the piece that is not taken is given an argument at which it is finite, and so are its derivatives
    small, large = jnp.where(near, w, 0.0), jnp.where(near, 1.0, w)
    third = jnp.full_like(small, 1.0 / math.factorial(_TERMS + 2))
    for k in range(_TERMS + 1, 2, -1):
        third = third * small + 1.0 / math.factorial(k)
    second = third * small + 0.5
    first = second * small + 1.0
    inverse = 1.0 / large
    one = jnp.expm1(large) * inverse
    two = (one - 1.0) * inverse
    three = (two - 0.5) * inverse
    one, two, three = jnp.where(near, first, one), jnp.where(near, second, two), jnp.where(near, third, three)
    return Phi(
        half_first=one,
        half_second=two,
        first=one * (1.0 + 0.5 * w * one),
        second=0.25 * (one * one + 2.0 * two),
        third=0.125 * (one * two + two + 2.0 * three),
    )


def gating_states(system: System) -> tuple[str, ...]:
    """Names of the states that are gates."""
    number = jax.ShapeDtypeStruct((), np.float32)
    p, u = dict.fromkeys(system.parameters, number), dict.fromkeys(system.inputs, number)
    arguments = (number, p, (number,) * len(system.states), u)
    found = jax.eval_shape(gates_of(system.rates, *arguments), *arguments)
    return tuple(system.states[i] for i in found)


class Exponential(SideBySide):
    """One twin's states and sensitivities under Rush-Larsen steps; the sensitivities are the step's own derivatives."""

    order = ORDER
    # the jump alone gives 2; but what the rest of the step has in its estimate may cancel it, which at five times as much
    # befell 1 twin in 200 by more than ten tolerances, not 1 in 40
    underestimate = 5.0 * underestimate(NODES, WEIGHTS, ERROR)

    def __init__(self, augmented: Augmented, twin: Twin, fixed: bool = False, time_rates: bool = False) -> None:
        super().__init__(augmented, twin, fixed, time_rates)
        # wrapped in jit: traced once, however often the loop around it is
        self.part, self.part_tangent = jax.jit(self._part), jax.jit(self._part_tangent)

    def empty_memo(self, point: Point) -> tuple[()]:
        return ()

    def begin(self, t: Scalar, point: Point, inputs: Inputs) -> tuple[()]:
        return ()

    def first_step(self, t: Scalar, point: Point, memo: tuple[()], inputs: Inputs, stop: Scalar, h: Scalar) -> Scalar:
        return self.guess(t, point, self.flow(t, point.y, point.moved, inputs), inputs, stop, h)

    def _part(
        self, clock: Values, h: Scalar, p: Named, x: Values, us: tuple[Named, ...]
    ) -> tuple[Part, tuple[Values, Values]]:
        """One step of the states, and the states at its stages.

        Args:
            clock: beginning, middle and end of the step, in the dtype of the states, as everything here.
            h: its size.
            p: parameters.
            x: states at its beginning.
            us: inputs at those three times.
        """
        rates = self.augmented.system.rates
        arguments = (clock[0], p, x, us[0])
        f = rates(*arguments)
        gates = gates_of(rates, *arguments)
        found = gates(*arguments)
        z = tuple(-h / self.twin.cast(found[i][1]) if i in found else None for i in range(len(x)))
        phis = [phi(v) for v in z]
        first = tuple(h * v for v in f)

        def more(argument: Values, rates: Sequence[Scalar]) -> Values:
            """By how much h N is more there than at the beginning."""
            rows = zip(rates, f, argument, x, z, strict=True)
            return tuple(h * (b - a) if v is None else h * (b - a) - v * (c - start) for b, a, c, start, v in rows)

        middle = tuple(v + 0.5 * s.half_first * k for v, s, k in zip(x, phis, first, strict=True))
        # gates may be so fast that they follow the other states, so they must know where those are by then
        ahead = list(f)
        for i, (steady, tau) in gates(clock[1], p, middle, us[1]).items():
            ahead[i] = (self.twin.cast(steady) - middle[i]) / self.twin.cast(tau)
        rows = zip(middle, z, phis, more(middle, ahead), strict=True)
        middle = tuple(v if w is None else v + 0.5 * s.half_second * c for v, w, s, c in rows)
        d = more(middle, rates(clock[1], p, middle, us[1]))
        if self.fixed:
            second, third = tuple(2.0 * v for v in d), tuple(jnp.zeros_like(v) for v in d)
            end = tuple(v + s.first * a + s.second * b for v, s, a, b in zip(x, phis, first, second, strict=True))
            return Part(x, end, third, z, first, second, third), (middle, end)
        ways = (s.first if v is None else s.second for s, v in zip(phis, z, strict=True))
        terms = zip(x, phis, first, ways, d, strict=True)
        last = tuple(v + (s.first * k + 2.0 * way * m) for v, s, k, way, m in terms)
        e = more(last, rates(clock[2], p, last, us[2]))
        bend = tuple(b - 2.0 * a for a, b in zip(d, e, strict=True))
        second = tuple(4.0 * a - b for a, b in zip(d, e, strict=True))
        third = tuple(4.0 * v for v in bend)
        terms = zip(x, phis, first, second, third, strict=True)
        end = tuple(v + (s.first * a + s.second * b + s.third * c) for v, s, a, b, c in terms)
        error = tuple((4.0 * s.third - s.second) * v for s, v in zip(phis, bend, strict=True))
        return Part(x, end, error, z, first, second, third), (middle, last)

    def _part_tangent(
        self,
        clock: Values,
        h: Scalar,
        p: Named,
        x: Values,
        us: tuple[Named, ...],
        s: Values,
        dp: Named,
        dus: tuple[Named, ...],
    ) -> Part:
        """The derivative of a step: `s` moves the states, `dp` the parameters it names, `dus` the inputs they name."""

        def of(x: Values, moved: Named, driven: tuple[Named, ...]) -> Part:
            at = tuple({**u, **more} for u, more in zip(us, driven, strict=True))
            return self._part(clock, h, {**p, **moved}, x, at)[0]

        moved, driven = primals_of(dp, p), tuple(primals_of(du, u) for u, du in zip(us, dus, strict=True))
        return jax.jvp(of, (x, moved, driven), (s, dict(dp), dus))[1]

    def attempt(self, span: Span, point: Point, memo: tuple[()], inputs: Inputs, switches: Switches) -> Step:
        h, p = self.twin.cast(span.taken), self.twin.parameters
        times = [span.at(node) for node in NODES]
        clock = tuple(self.twin.cast(t) for t in times)
        us = tuple(inputs.at(t) for t in times)
        x, along = self.augmented.split(point.y)
        part, stages = self.part(clock, h, p, x, us)
        parts = [part]
        for seed, s, line in zip(self.augmented.seeds, along, point.moved, strict=True):
            dus = tuple(line.at(self.twin.cast(t - inputs.since)) for t in times)
            parts.append(self.part_tangent(clock, h, p, x, us, s, own(seed, p), dus))
        y = _joined([part.end for part in parts])
        seen = [switches]
        if not self.fixed:
            for i, states in ((1, stages[0]), (2, stages[1]), (2, part.end)):
                seen.append(self.augmented.system.switches(clock[i], p, states, us[i]))
        square = self.square(_joined([part.error for part in parts]), point.y, y)
        return Step(square, part.end, (), seen, jnp.array(True), _Inner(y, tuple(parts)))

    def at(self, step: Step, point: Point, theta: Scalar) -> Values:
        states, *others = step.inner.parts

        def of(part: Part) -> Values:
            return _dense(theta, part)

        return _joined([of(states), *(jax.jvp(of, (states,), (part,))[1] for part in others)])

    def inside(self, step: Step, point: Point, theta: Scalar) -> Values:
        return _dense(theta, step.inner.parts[0])


@jax.jit
def _dense(theta: Scalar, part: Part) -> Values:
    """The states at a fraction of a step, of second order: the equations with the same polynomial, solved up to there.

    At 1 it is the end of the step, but for rounding.
    """
    square = theta * theta
    cube = square * theta
    found = []
    for x, z, first, second, third in zip(part.begin, part.z, part.first, part.second, part.third, strict=True):
        s = phi(None if z is None else theta * z)
        found.append(x + (theta * s.first * first + square * s.second * second + cube * s.third * third))
    return tuple(found)


def _joined(rows: Sequence[Values]) -> Values:
    return tuple(v for row in rows for v in row)
