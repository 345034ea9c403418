"""One step of a Rosenbrock method, on scalars: the tableau, and what does not depend on how a system is stored.

For M x' = f(t, x), M diagonal with 1 for a differential and 0 for an algebraic equation, stage i solves

    (M / (h gamma) - J) u_i = f(t + alpha_i h, x + sum_j a_ij u_j) + M sum_j (c_ij / h) u_j + d_i h f_t

with J and f_t taken at the beginning of the step (E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, IV.7).

The method is Rodas5P: G. Steinebach, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the
Julia Differential Equations package, BIT Numer. Math. 63 (2023) 27, doi 10.1007/s10543-023-00967-x. Order 5, embedded
order 4, dense output of order 4; stiffly accurate and L-stable, of full order for differential-algebraic systems of index
1, and without the loss of order of most Rosenbrock methods on parabolic problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from vht.solve.elimination import Elimination, Factors
from vht.solve.sensitivity import Line
from vht.solve.sparse import Entries, jacobian
from vht.solve.sums import combine
from vht.solve.system import Named, Scalar, Values

ORDER = 5
GAMMA = 0.21193756319429014
NODES = (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0)
# weights of f_t
TIME = (
    0.21193756319429014,
    -0.42387512638858027,
    -0.3384627126235924,
    1.8046452872882734,
    2.325825639765069,
    0.0,
    0.0,
    0.0,
)
_SIXTH = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)
# weights of earlier stages in a stage's argument; the last three stages each add the one before
ARGUMENTS = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    _SIXTH,
    (*_SIXTH, 1.0),
    (*_SIXTH, 1.0, 1.0),
)
# weights of earlier stages on a stage's right-hand side, divided by the step
COUPLING = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ),
)
STAGES = len(NODES)
# the solution is the last stage's argument and the last stage, which is also the estimate of its error
# weights of the stages in the three coefficients of the dense output
DENSE = (
    (
        25.948786856663858,
        -2.5579724845846235,
        10.433815404888879,
        -2.3679251022685204,
        0.524948541321073,
        1.1241088310450404,
        0.4272876194431874,
        -0.17202221070155493,
    ),
    (
        -9.91568850695171,
        -0.9689944594115154,
        3.0438037242978453,
        -24.495224566215796,
        20.176138334709044,
        15.98066361424651,
        -6.789040303419874,
        -6.710236069923372,
    ),
    (
        11.419903575922262,
        2.8879645146136994,
        72.92137995996029,
        80.12511834622643,
        -52.072871366152654,
        -59.78993625266729,
        -0.15582684282751913,
        4.883087185713722,
    ),
)


def classical() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The coefficients (alpha, gamma, b, e) of the method before its transformation, for checks of order.

    Stages there are ``k_i = h f(x + sum alpha_ij k_j) + h J sum gamma_ij k_j``, the solution ``x + sum b_i k_i`` and its
    estimated error ``sum e_i k_i``.
    """
    # exactly, or the last digits, which kernels hold, would be those of the machine's linear algebra
    exact: list[list[Fraction]] = []
    for i in range(STAGES):
        row = [
            sum((Fraction(c) * g[j] for c, g in zip(COUPLING[i], exact, strict=True)), Fraction(0)) for j in range(i)
        ]
        exact.append([Fraction(GAMMA) * r for r in (*row, Fraction(1))] + [Fraction(0)] * (STAGES - 1 - i))

    def transformed(row: Sequence[float]) -> list[float]:
        return [float(sum(Fraction(a) * g[j] for a, g in zip(row, exact, strict=False))) for j in range(STAGES)]

    alpha = np.array([transformed(row) for row in ARGUMENTS[:STAGES]])
    gamma = np.array([[float(g) for g in row] for row in exact])
    return alpha, gamma, np.array(transformed((*ARGUMENTS[-1], 1.0))), gamma[-1]


def dense(theta: Scalar, begin: Scalar, end: Scalar, coefficients: Sequence[Scalar]) -> Scalar:
    """A state inside a step, at a fraction `theta` of it; `coefficients` are the sums with the weights `DENSE`."""
    first, second, third = coefficients
    rest = 1.0 - theta
    return rest * begin + theta * (end + rest * (first + theta * (second + theta * third)))


def linearized(
    function: Callable[[Scalar, Values, Named, Named], Values], t: Scalar, x: Values, line: Line, moved: Line
) -> tuple[list[Scalar], Entries, list[Scalar | None]]:
    """A function of time, states and inputs with its derivatives by the states and, in all, by time.

    Args:
        function: ``(t, x, u, du) -> values``, one a state.
        t: time.
        x: states.
        line: inputs and their slopes.
        moved: how a direction moves the inputs, and the slopes of that.

    Returns:
        Values, derivatives by the states, derivatives along time (None where there is none).
    """
    size, inputs, moves = len(x), list(line.slopes), list(moved.slopes)

    def of_all(*args: Scalar) -> Values:
        x, (t, *rest) = args[:size], args[size:]
        u = {**line.values, **dict(zip(inputs, rest, strict=False))}
        du = {**moved.values, **dict(zip(moves, rest[len(inputs) :], strict=True))}
        return function(t, x, u, du)

    at = [*x, t, *(line.values[port] for port in inputs), *(moved.values[port] for port in moves)]
    values, found = jacobian(of_all, at)
    speeds = [None, *(line.slopes[port] for port in inputs), *(moved.slopes[port] for port in moves)]
    along: list[Scalar | None] = [None] * size
    for (i, j), slope in sorted(found.items()):
        if j >= size:
            speed = speeds[j - size]
            term = slope if speed is None else slope * speed
            before = along[i]
            along[i] = term if before is None else before + term
    return values, {key: slope for key, slope in found.items() if key[1] < size}, along


class Stages:
    """The linear equations of one step: factored once, solved for states and for each direction.

    Args:
        h: the step.
        slope_x: derivatives of the rates by the states, at its beginning.
        size: number of states.
        differential: numbers of those that have a rate; the others are algebraic.
    """

    def __init__(self, h: Scalar, slope_x: Entries, size: int, differential: Sequence[int]) -> None:
        self.h, self.n = h, size
        self.inverse = 1.0 / h
        self.differential = frozenset(differential)
        diagonal = {(j, j): self.inverse * (1.0 / GAMMA) for j in differential}
        matrix = {key: -slope for key, slope in slope_x.items()}
        for key, value in diagonal.items():
            matrix[key] = value + matrix[key] if key in matrix else value
        self.factors: Factors = Elimination(frozenset(matrix), size).factor(matrix)

    def solve(
        self,
        start: Values,
        rates: Callable[[int, Values], Sequence[Scalar]],
        slope_t: Sequence[Scalar | None],
        bent: Sequence[Sequence[Scalar | None]] | None,
    ) -> tuple[list[Values], Values]:
        """All stages, and the end of the step.

        Args:
            start: at the beginning of the step.
            rates: of a stage's number and argument.
            slope_t: derivative of the rates along time.
            bent: by stage, what the sensitivities' matrix adds; None for the states.
        """
        u: list[Values] = []
        argument = start
        for i in range(STAGES):
            if i >= STAGES - 2:
                argument = tuple(a + last for a, last in zip(argument, u[-1], strict=True))
            elif i > 0:
                argument = tuple(combine(ARGUMENTS[i], [stage[j] for stage in u], start[j]) for j in range(self.n))
            right = list(rates(i, argument))
            time = self.h * TIME[i]
            for j in range(self.n):
                drift, bend = slope_t[j], None if bent is None else bent[i][j]
                if TIME[i] and drift is not None:
                    right[j] = right[j] + time * drift
                if bend is not None:
                    right[j] = right[j] + bend
                if i > 0 and j in self.differential:
                    coupled = combine(COUPLING[i], [stage[j] for stage in u])
                    right[j] = right[j] + coupled * self.inverse
            u.append(tuple(self.factors.solve(right)))
        return u, tuple(a + last for a, last in zip(argument, u[-1], strict=True))
