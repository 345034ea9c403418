"""The circulation's periodic state for the gradients benchmark, and its references: Newton's method on beats by CVODES."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.cohort import PARAMETERS, STATES, circulation_cohort, indices
from benchmarks.gradients_questions import TOLERANCE, Columns, Question, Truth, check, size_of
from benchmarks.peers import gradients_cvodes as cvodes
from benchmarks.peers.gradients_cvodes import Program, Solved
from benchmarks.peers.scipy_solvers import equations

# of a beat, at whose ends derivatives are looked at for their size
_STRETCHES = 8
# beats paced before Newton's method, and its steps: loose ones first, then with the derivatives at 1e-12
_PACED, _NEWTON = 10, 4
# most steps with a Jacobian from nearby, and how small they are when only rounding keeps them from becoming shorter
_SIMPLE, _THERE = 30, 1e-9
# of the beats that differences are taken of: CVODE steps across the kinks of valves, which differences magnify
_TIGHT = 1e-13

Parameters = Float[np.ndarray, "twins parameters"]
Rows = Float[np.ndarray, "twins states"]


def periodic(twins: int, seed: int, compared: int) -> Question:
    """The periodic state at the beginning of a beat; the heart period is one of the parameters."""
    free = ("R_AR_SYS", "C_AR_SYS", "EA_LV", "T_HB")
    from vht.model import initial_state
    from vht.organs.circulation import Circulation
    from vht.solve import periodic_state

    model = Circulation()
    cohort = circulation_cohort(twins, np.array([0.0]), seed=seed)
    columns = {name: cohort.column(name) for name in PARAMETERS}
    begin = initial_state(model)
    initial = np.tile([float(getattr(begin, name)) for name in STATES], (twins, 1))

    def answer(q: Mapping[str, Any], method: Any) -> tuple[Any, Any]:
        import jax.numpy as jnp

        found = periodic_state(model, "T_HB", twins={**columns, **q}, observe=STATES, method=method)
        return jnp.stack([found.values[name] for name in STATES], axis=-1)[:, None], found.status

    base = _Base(cohort.parameters, initial)

    def point(q: Columns) -> Float[np.ndarray, "twins saves observed"]:
        p = cohort.parameters[: len(q[free[0]])].copy()
        for name, column in q.items():
            p[:, PARAMETERS.index(name)] = column
        return base.near(p)[:, None]

    at = {name: columns[name] for name in free}
    terms = {name: f"periodic state, {name}" for name in free}
    return Question(
        "circulation", terms, at, answer, 1.0, point, lambda: base.forward(free), step=1e-2, compared=compared
    )


class _Base:
    """The cohort's periodic states, found once, and what is needed to find those of twins nearby."""

    def __init__(self, parameters: Parameters, initial: Rows) -> None:
        self.p, self.initial = parameters, initial
        self.x: Rows | None = None

    def _solved(self) -> tuple[Rows, Solved]:
        """The periodic states, and a beat from there with sensitivities to states."""
        if self.x is None:
            x = self.initial
            for _ in range(_PACED):
                x = _beat(self.p, x, 1e-6).values[:, -1]
            for _ in range(_NEWTON):
                x = x + self._step(self.p, x, _beat(self.p, x, 1e-8, states=True))
            self.last = _beat(self.p, x, TOLERANCE, states=True)
            self.x = x + self._step(self.p, x, self.last)
        return self.x, self.last

    def _step(self, p: Parameters, x: Rows, beat: Solved, slopes: Any = None) -> Rows:
        """Newton's, within the states that hold as much blood as the initial ones."""
        held = _holds(p)
        blood = np.sum(held * (self.initial[: len(p)] - x), axis=1, keepdims=True)
        right = np.concatenate([beat.values[:, -1] - x, blood], axis=1)
        return _solve(beat.slopes[:, -1] if slopes is None else slopes, held, right[..., None])[..., 0]

    def near(self, p: Parameters) -> Rows:
        """The periodic states of twins whose parameters are nearly the cohort's."""
        x, last = self._solved()
        n = len(p)
        x, slopes = x[:n], last.slopes[:n, -1]
        before = np.inf
        for _ in range(_SIMPLE):
            step = self._step(p, x, _beat(p, x, _TIGHT), slopes)
            x, size = x + step, float(np.max(np.abs(step) / np.maximum(np.abs(x), 1.0)))
            if size < _THERE and size > 0.5 * before:
                return x
            before = size
        raise RuntimeError(f"Newton's method did not find periodic states within {_SIMPLE} steps.")

    def forward(self, free: Sequence[str]) -> Truth:
        """By the implicit function theorem, from one beat by CVODES with sensitivities to states and parameters."""
        x, _ = self._solved()
        beat = _beat(self.p, x, TOLERANCE, states=True, free=free)
        n = x.shape[1]
        by_states, by_parameters = beat.slopes[:, -1, :, :n], beat.slopes[:, -1, :, n:].copy()
        held, more = _holds(self.p), np.zeros((len(x), 1, len(free)))
        for k, name in enumerate(free):
            if name == "T_HB":
                # the end of the beat moves too
                end = beat.values[:, -1]
                by_parameters[:, :, k] += [equations(p)(p[0], state) for p, state in zip(self.p, end, strict=True)]
            # what the initial state holds more of than the periodic one, if the parameter is larger
            more[:, 0, k] = np.sum(_holds(self.p, name) * (self.initial - x), axis=1)
        jacobian = _solve(by_states, held, np.concatenate([by_parameters, more], axis=1))
        along = np.einsum("tsij,tjk->tsik", beat.slopes[..., :n], jacobian) + beat.slopes[..., n:]
        at = {name: self.p[:, PARAMETERS.index(name)] for name in free}
        return Truth(jacobian[:, None], size_of(along, beat.values, at))


def _beat(p: Parameters, x: Rows, tolerance: float, *, states: bool = False, free: Sequence[str] = ()) -> Solved:
    """A beat from its beginning, with sensitivities to its first states and to parameters."""
    (twins, n), m = x.shape, p.shape[1]
    lengths = np.tile(p[:, :1] / _STRETCHES, (1, _STRETCHES))
    program = Program(cvodes.CIRCULATION, p, x, lengths, np.zeros(lengths.shape), np.zeros((twins, _STRETCHES, n)))
    still = Program(cvodes.CIRCULATION, *(np.zeros_like(table) for table in program.tables))
    directions, sizes = [], []
    for i in range(n if states else 0):
        directions.append(_moved(still, initial=np.eye(n)[i]))
        sizes.append(np.maximum(np.abs(x[:, i]), 1.0))
    for i in indices(free):
        directions.append(_moved(still, parameters=np.eye(m)[i]))
        sizes.append(p[:, i])
    sized = np.stack(sizes, axis=1) if sizes else None
    found = cvodes.solve(program, rtol=tolerance, atol=tolerance, directions=directions, sizes=sized)
    check(found.ok)
    return found


def _moved(still: Program, **unit: Float[np.ndarray, " n"]) -> Program:
    return dataclasses.replace(
        still, **{name: np.broadcast_to(row, getattr(still, name).shape) for name, row in unit.items()}
    )


def _holds(p: Parameters, moved: str | None = None) -> Rows:
    """Blood by unit of each state, or how a parameter changes it."""
    held = np.zeros((len(p), len(STATES)))
    if moved is None:
        held[:, :4] = 1.0
    for state in ("AR_SYS", "VEN_SYS", "AR_PUL", "VEN_PUL"):
        name = f"C_{state}"
        held[:, STATES.index(f"p_{state}")] = p[:, PARAMETERS.index(name)] if moved is None else float(moved == name)
    return held


def _solve(slopes: Any, held: Rows, right: Float[np.ndarray, "twins equations columns"]) -> np.ndarray:
    """``(1 - slopes) x = right`` with the blood held, one equation more than there are unknowns and all of them true."""
    matrix = np.concatenate([np.eye(slopes.shape[1]) - slopes, held[:, None, :]], axis=1)
    return np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(matrix, right, strict=True)])
