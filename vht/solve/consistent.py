"""Algebraic variables: values that satisfy their equations, and how they move.

For a semi-explicit system of index 1 the equations 0 = g(t, x, z, u) determine the algebraic variables z by the states x. They
are found by Newton's method, damped by the natural monotonicity test (P. Deuflhard, Newton Methods for Nonlinear Problems,
Springer 2011, section 3.3), from the guess the model gives or the last values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int

from vht.errors import ModelError
from vht.solve.elimination import Elimination, Factors, StructurallySingular
from vht.solve.propagate import all_finite
from vht.solve.sensitivity import Augmented
from vht.solve.sparse import jacobian
from vht.solve.system import Named, Scalar, Values
from vht.solve.twin import Twin

TURNS = 90
LEAST_DAMPING = 1e-6
# how often to go across a jump of the equations
HOPS = 3
# the last correction may be this share of the tolerance: what is left after it is its square
DONE = 1e-2


class _Search(NamedTuple):
    z: Values
    damping: Scalar
    turns: Int[Array, ""]
    found: Bool[Array, ""]
    lost: Bool[Array, ""]
    hops: Int[Array, ""]
    worst: Int[Array, ""]


class Constraints:
    """The algebraic equations of one twin.

    Args:
        augmented: the model.
        twin: its numbers.
    """

    def __init__(self, augmented: Augmented, twin: Twin) -> None:
        self.augmented, self.twin, self.system = augmented, twin, augmented.system
        self.rows = [j for j, algebraic in enumerate(self.system.algebraic) if algebraic]

    def _with(self, x: Values, z: Sequence[Scalar]) -> Values:
        full = list(x)
        for j, value in zip(self.rows, z, strict=True):
            full[j] = value
        return tuple(full)

    def _residual(self, t: Scalar, x: Values, u: Named, z: Sequence[Scalar]) -> Values:
        f = self.system.rates(t, self.twin.parameters, self._with(x, z), u)
        return tuple(f[j] for j in self.rows)

    def _linear(self, t: Scalar, x: Values, u: Named, z: Sequence[Scalar]) -> tuple[list[Scalar], Factors]:
        values, slopes = jacobian(lambda *z: self._residual(t, x, u, z), z)
        elimination = Elimination(frozenset(slopes), len(self.rows))
        try:
            return values, elimination.factor(slopes)
        except StructurallySingular as error:
            raise self._undetermined([self.rows[column] for column in error.columns]) from None

    def _undetermined(self, states: Sequence[int]) -> ModelError:
        names = ", ".join(f"`{self.system.states[j]}`" for j in states)
        return ModelError(
            f"The equations of `{type(self.system.model).__name__}` do not determine the algebraic variable {names}: each "
            "needs an equation that depends on it, so that all of them follow from the states (a system of index 1)."
        )

    def settle(self, t: Scalar, x: Values, u: Named) -> tuple[Values, Int[Array, ""]]:
        """States with algebraic variables that satisfy their equations; -1, or the number of one that has no value."""
        z = tuple(x[j] for j in self.rows)

        def size(correction: Sequence[Scalar], z: Values) -> tuple[Scalar, Int[Array, ""]]:
            """The largest correction over its tolerance, NaN among them, and whose it is."""
            worst, whose = jnp.zeros_like(z[0]), jnp.full((), self.rows[0], np.int32)
            for j, d, v in zip(self.rows, correction, z, strict=True):
                ratio = abs(d) / (self.twin.atol + self.twin.rtol * abs(v))
                larger = ~(ratio <= worst)
                worst, whose = jnp.where(larger, ratio, worst), jnp.where(larger, np.int32(j), whose)
            return worst, whose

        def turn(c: _Search) -> _Search:
            g, factors = self._linear(t, x, u, c.z)
            full = factors.solve([-v for v in g])
            trial = tuple(v + c.damping * d for v, d in zip(c.z, full, strict=True))
            ahead = factors.solve([-v for v in self._residual(t, x, u, trial)])
            (before, whose), (after, _) = size(full, c.z), size(ahead, c.z)
            smaller = after <= (1.0 - 0.5 * c.damping) * before
            # corrections within the tolerance that do not get smaller are rounding
            rounding = (before <= 1.0) & (after <= 1.0) & ~smaller
            # a correction as small as that can still lead across a jump of the equations
            beyond = (before <= DONE) & ~(after <= 1.0)
            found = factors.regular & (((before <= DONE) & ~beyond) | rounding)
            better = found | (factors.regular & (smaller | beyond))
            damping = jnp.where(better, jnp.minimum(2.0 * c.damping, 1.0), 0.25 * c.damping)
            # short of a jump every correction is too long: go to its other side
            short = ~better & (damping < LEAST_DAMPING)
            hop = short & (c.hops < np.int32(HOPS)) & factors.regular
            leap = tuple(v + d for v, d in zip(c.z, full, strict=True))
            trial = tuple(jnp.where(hop, far, near) for far, near in zip(leap, trial, strict=True))
            damping = jnp.where(hop, jnp.ones_like(damping), damping)
            return _Search(
                z=tuple(jnp.where(better | hop, new, old) for new, old in zip(trial, c.z, strict=True)),
                damping=damping,
                turns=c.turns + np.int32(1),
                found=found,
                lost=~found & (damping < LEAST_DAMPING),
                hops=c.hops + hop.astype(np.int32),
                worst=whose,
            )

        one, zero = jnp.ones_like(z[0]), jnp.zeros((), np.int32)
        start = _Search(z, one, zero, jnp.array(False), ~all_finite(x), zero, jnp.full((), self.rows[0], np.int32))
        c = lax.while_loop(lambda c: ~(c.found | c.lost) & (c.turns < np.int32(TURNS)), turn, start)
        return self._with(x, c.z), jnp.where(c.found, np.int32(-1), c.worst)

    def _implied(self, t: Scalar, x: Values, u: Named, moved: Sequence[Scalar]) -> list[Scalar]:
        """How the algebraic variables move where the equations' left sides would move by `moved` without them."""
        _, factors = self._linear(t, x, u, [x[j] for j in self.rows])
        return factors.solve([-v for v in moved])

    def settle_tangent(self, t: Scalar, x: Values, u: Named, s: Values, own: Named, du: Named) -> Values:
        """Sensitivities of which the algebraic variables' follow from the others.

        Args:
            t: time.
            x: states that satisfy the equations.
            u: inputs.
            s: sensitivities; those of algebraic variables are not looked at.
            own: how the direction moves parameters.
            du: how it moves inputs.
        """
        still = self._with(s, [jnp.zeros_like(s[j]) for j in self.rows])
        moved = self.augmented.flow_tangent(t, self.twin.parameters, x, u, still, own, du)
        return self._with(s, self._implied(t, x, u, [moved[j] for j in self.rows]))

    def rates(self, t: Scalar, x: Values, u: Named, slopes: Named, f: Values) -> Values:
        """Time derivatives of all states; `f` has the equations' left sides in place of the algebraic ones."""
        still = self._with(f, [jnp.zeros_like(f[j]) for j in self.rows])
        moving = {port: u[port] for port in slopes}

        def g(t: Scalar, x: Values, moving: Named) -> Values:
            return self.system.rates(t, self.twin.parameters, x, {**u, **moving})

        _, moved = jax.jvp(g, (t, x, moving), (jnp.ones_like(t), still, dict(slopes)))
        return self._with(f, self._implied(t, x, u, [moved[j] for j in self.rows]))
