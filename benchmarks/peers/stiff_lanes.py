"""This package on the stiff problems, through its public functions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.stiff_problems import Ensemble, Problem


class Solved(NamedTuple):
    """What this package gives.

    Attributes:
        values: states at the end; NaN where it failed.
        ok: twins that reached the end.
        steps: tried.
    """

    values: Float[np.ndarray, "twins states"]
    ok: Bool[np.ndarray, " twins"]
    steps: Int[np.ndarray, " twins"]


def method(problem: Problem, rtol: float, max_steps: int = 100_000) -> Any:
    """The stiff method at a tolerance."""
    from vht.solve import Rodas5P

    return Rodas5P(rtol=rtol, atol=rtol * problem.threshold, max_steps=max_steps)


def schedule(problem: Problem) -> Any:
    """The problem's input as a schedule, or None."""
    from vht.solve import Doses, Schedule

    pulse = problem.pulse
    if pulse is None:
        return None
    amount = pulse.value * pulse.duration
    return Schedule(doses={pulse.port: Doses(time=[pulse.start], amount=[amount], duration=[pulse.duration])})


def solve(twins: Ensemble, *, rtol: float, max_steps: int = 100_000) -> Solved:
    """Solve an ensemble on all cores.

    Args:
        twins: to solve.
        rtol: relative tolerance; the absolute one is it times the problem's threshold.
        max_steps: budget.
    """
    from vht.solve import simulate

    problem = twins.problem
    found = simulate(
        problem.model,
        np.array([problem.end]),
        twins={name: twins.parameters[:, i] for i, name in enumerate(twins.names)},
        initial={name: float(twins.initial[0, i]) for i, name in enumerate(problem.names)},
        schedule=schedule(problem),
        observe=problem.names,
        method=method(problem, rtol, max_steps),
    )
    values = np.stack([np.asarray(found.values[name])[:, 0] for name in problem.names], axis=-1)
    return Solved(values, np.asarray(found.ok), np.asarray(found.steps))
