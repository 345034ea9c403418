"""One step of an explicit Runge-Kutta method, Tsitouras' or the classical one, on scalars.

A system is a tuple of scalars here, whatever they mean: the loop puts sensitivities behind the states. Every sum is
written out with the zero coefficients left out, so that a step becomes straight-line code with no array in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxtyping import Array, Float

from vht.solve.sums import combine, combined

Scalar = Float[Array, ""]
State = tuple[Scalar, ...]
# (fraction of the step gone by, states there) -> rates
Rates = Callable[[float, State], State]

# Ch. Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption,
# Comput. Math. Appl. 62 (2011) 770-775, doi 10.1016/j.camwa.2011.06.002
NODES = (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
WEIGHTS = (
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.2900695154360807,
        2.324710524099774,
    ),
)
# weights of the fifth-order solution minus those of the embedded fourth-order one
ERROR = (
    0.0017800110522257714,
    0.0008164344596567469,
    -0.007880878010261995,
    0.1447110071732629,
    -0.5823571654525552,
    0.45808210592918697,
    -1.0 / 66.0,
)
ORDER = 5


def underestimate(nodes: Sequence[float], weights: Sequence[float], errors: Sequence[float]) -> float:
    """The largest ratio of true to estimated error where the rates jump inside a step, over all places of the jump.

    Args:
        nodes: of the stages.
        weights: of their rates in the solution.
        errors: of their rates in the estimate.
    """
    stages = sorted(zip(nodes, weights, errors, strict=True))
    ratios, solution, estimate = [], 0.0, 0.0
    for (before, weight, error), (node, _, _) in itertools.pairwise(stages):
        solution, estimate = solution + weight, estimate + error
        # rates are 1 up to the jump and 0 after it: the step should give the share of it that lies before the jump
        if node > before:
            ratios += [abs(place - solution) / abs(estimate) for place in (before, node)]
    return float(max(ratios))


# About 85: the estimate's first weights are small, so that across a kink it sees next to nothing
UNDERESTIMATE = underestimate(NODES, (*WEIGHTS[-1], 0.0), ERROR)


def tsit5_step(
    rates: Rates, h: Scalar, x: State, k1: State, constant: bool = False
) -> tuple[State, State, tuple[State, ...]]:
    """One step of Tsitouras' method.

    Args:
        rates: the rates at a fraction of the step and a state.
        h: size of the step, in the dtype of the states.
        x: the states at its beginning.
        k1: the rates there.
        constant: many steps have this size: its products with the weights are taken once.

    Returns:
        The states at the end, the estimate of their error, and the seven stages' rates; the last stage's are those at
        the end of the step, the first of the next one.
    """
    stages = [k1]

    def into_weights(weights: Sequence[float]) -> bool:
        # where there are few states, it is fewer products to multiply the sums; in float32 it also leaves less rounding for the
        # estimate of the error to find: 108 steps instead of 136 on Lorenz' equations at a tolerance of 1e-8
        return constant or len(x) >= len(weights)

    def increments(weights: Sequence[float]) -> State:
        if into_weights(weights):
            return combined([h * w for w in weights], stages)
        return tuple(h * total for total in combined(weights, stages))

    def moved(weights: Sequence[float]) -> State:
        return tuple(xi + step for xi, step in zip(x, increments(weights), strict=True))

    def ahead(weights: Sequence[float]) -> State:
        if not into_weights(weights):
            return moved(weights)
        # from the state outwards: each term is one fused multiply-add
        scaled = [h * w for w in weights]
        return tuple(combine(scaled, ki, xi) for xi, *ki in zip(x, *stages, strict=True))

    for node, weights in zip(NODES[1:-1], WEIGHTS[:-1], strict=True):
        stages.append(rates(node, ahead(weights)))
    # here the increment is always summed first: its rounding is what stays in the solution
    end = moved(WEIGHTS[-1])
    stages.append(rates(NODES[-1], end))
    return end, increments(ERROR), tuple(stages)


def tsit5_dense(theta: Scalar, h: Scalar, x: State, stages: Sequence[State]) -> State:
    """The states inside a step by Tsitouras' free interpolant, of order 4.

    Args:
        theta: fraction of the step, 0 at its beginning and 1 at its end.
        h: size of the step.
        x: the states at its beginning.
        stages: as `tsit5_step` returned them.
    """
    square = theta * theta
    first = (
        -1.0530884977290216 * (theta - 1.3299890189751412) * (square - 1.4364028541716351 * theta + 0.7139816917074209)
    )
    # all but the first weight hold theta squared: sum those terms first
    weights = (
        0.1017 * (square - 2.1966568338249754 * theta + 1.2949852507374631),
        2.490627285651252793 * (square - 2.38535645472061657 * theta + 1.57803468208092486),
        -16.54810288924490272 * ((theta - 1.21712927295533244) * (theta - 0.61620406037800089)),
        47.37952196281928122 * ((theta - 1.203071208372362603) * (theta - 0.658047292653547382)),
        -34.87065786149660974 * ((theta - 1.2) * (theta - 2.0 / 3.0)),
        2.5 * ((theta - 1.0) * (theta - 0.6)),
    )
    linear, quadratic = h * theta, h * square
    scaled = [linear * first, *(quadratic * w for w in weights)]
    return tuple(xi + step for xi, step in zip(x, combined(scaled, stages), strict=True))


def rk4_step(
    rates: Rates, h: Scalar, x: State, k1: State, constant: bool = False
) -> tuple[State, State, tuple[State, ...]]:
    """One step of the classical Runge-Kutta method, of order 4.

    W. Kutta, Beitrag zur naeherungsweisen Integration totaler Differentialgleichungen, Z. Math. Phys. 46 (1901) 435-453.

    Args:
        rates: the rates at a fraction of the step and a state.
        h: size of the step, in the dtype of the states.
        x: the states at its beginning.
        k1: the rates there.
        constant: of no meaning here; the products with the weights are few.

    Returns:
        The states at the end, no estimate of their error, and the rates of the four stages and at the end.
    """
    half, sixth = 0.5 * h, h * (1.0 / 6.0)
    k2 = rates(0.5, tuple(xi + half * k for xi, k in zip(x, k1, strict=True)))
    k3 = rates(0.5, tuple(xi + half * k for xi, k in zip(x, k2, strict=True)))
    k4 = rates(1.0, tuple(xi + h * k for xi, k in zip(x, k3, strict=True)))
    rows = zip(x, k1, k2, k3, k4, strict=True)
    end = tuple(xi + sixth * ((a + d) + 2.0 * (b + c)) for xi, a, b, c, d in rows)
    return end, (), (k1, k2, k3, k4, rates(1.0, end))


def rk4_dense(theta: Scalar, h: Scalar, x: State, stages: Sequence[State]) -> State:
    """The states inside a step, of order 3: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.6.

    Args:
        theta: fraction of the step, 0 at its beginning and 1 at its end.
        h: size of the step.
        x: the states at its beginning.
        stages: as `rk4_step` returned them.
    """
    square = h * theta * theta
    cubic = square * theta * (2.0 / 3.0)
    middle = square - cubic
    weights = (h * theta - 1.5 * square + cubic, middle, middle, cubic - 0.5 * square)
    return tuple(xi + step for xi, step in zip(x, combined(weights, stages[:-1]), strict=True))


class Scheme(NamedTuple):
    """An explicit method.

    Attributes:
        step: as `tsit5_step`.
        dense: as `tsit5_dense`.
        order: of the step.
        underestimate: see `underestimate`; of no meaning without an estimate of the error.
    """

    step: Callable[..., tuple[State, State, tuple[State, ...]]]
    dense: Callable[[Scalar, Scalar, State, Sequence[State]], State]
    order: int
    underestimate: float = 1.0


TSIT5 = Scheme(tsit5_step, tsit5_dense, ORDER, UNDERESTIMATE)
CLASSICAL = Scheme(rk4_step, rk4_dense, 4)
