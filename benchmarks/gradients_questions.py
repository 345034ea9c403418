"""What the gradients benchmark asks of a cohort, and the references: differences, and CVODES on what happens to the twins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Inexact, Int

from benchmarks.peers import gradients_cvodes as cvodes
from benchmarks.peers.gradients_cvodes import TINY, Program

TOLERANCE = 1e-12
# a derivative by which a state changes less than by this share of itself, if the quantity changes by its own size, is held
# to that
LEAST = 1e-3

Columns = Mapping[str, Inexact[np.ndarray, " twins"]]
Answer = Callable[[Mapping[str, Any], Any], tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class Truth:
    """A reference.

    Attributes:
        jacobian: of what is observed.
        size: that errors are a share of; see `size_of`.
    """

    jacobian: Float[np.ndarray, "twins saves observed free"]
    size: Float[np.ndarray, "twins observed free"]


@dataclass(frozen=True, eq=False)
class Question:
    """A cohort and what its solution is differentiated by.

    Attributes:
        name: of the cohort, in words.
        terms: by quantity that is moved, what the table calls it.
        at: the quantities of each twin.
        answer: what is observed, ``[twins, saves, observed]``, and statuses, of quantities and a method of this package.
        floor: share of rtol that atol is.
        point: what is observed by CVODE at 1e-12.
        forward: the reference by CVODES' sensitivities; None where there are none.
        step: of the differences, relative.
        compared: of how many of the first twins differences are taken; None for all.
        seen: which saves count; None for all.
    """

    name: str
    terms: Mapping[str, str]
    at: Columns
    answer: Answer
    floor: float
    point: Callable[[Columns], Float[np.ndarray, "twins saves observed"]]
    forward: Callable[[], Truth] | None
    step: float = 1e-4
    compared: int | None = None
    seen: Callable[[], Bool[np.ndarray, "twins saves"]] | None = None

    @property
    def twins(self) -> int:
        """How many."""
        return len(next(iter(self.at.values())))


def size_of(
    jacobian: Float[np.ndarray, "twins times observed free"],
    values: Float[np.ndarray, "twins times observed"],
    at: Columns,
) -> Float[np.ndarray, "twins observed free"]:
    """What errors are a share of: a derivative's largest value over time, as in jacobian.py.

    It is at least `LEAST` of the state's largest value over the quantity's, since a derivative may vanish.
    """
    quantities = np.abs(np.stack(list(at.values()), axis=1))[:, None, :]
    least = LEAST * np.max(np.abs(values), axis=1)[:, :, None] / quantities
    return np.maximum(np.max(np.abs(jacobian), axis=1), least)


def differences(question: Question) -> tuple[Float[np.ndarray, "twins saves observed free"], ...]:
    """Central differences extrapolated to a step of zero (Richardson), and how far apart two extrapolations lie.

    These are from the two longer and the two shorter of three steps. Where it is the steps' length that matters, their
    distance is far above the error; where it is the solutions' own, it is about it.
    """
    columns, changes = [], []
    where = {name: column[: question.compared] for name, column in question.at.items()}
    for name, at in where.items():
        rough, middle, fine = (
            (question.point({**where, name: at * (1.0 + step)}) - question.point({**where, name: at * (1.0 - step)}))
            / (2.0 * step * at[:, None, None])
            for step in (4.0 * question.step, 2.0 * question.step, question.step)
        )
        coarser, finer = (4.0 * middle - rough) / 3.0, (4.0 * fine - middle) / 3.0
        columns.append((16.0 * finer - coarser) / 15.0)
        changes.append(np.abs(coarser - finer))
    return np.stack(columns, axis=-1), np.stack(changes, axis=-1)


def check(ok: Bool[np.ndarray, " twins"]) -> None:
    """Refuse a reference that is none.

    Raises:
        RuntimeError: for some twin there is none.
    """
    if not ok.all():
        raise RuntimeError(f"There is no reference for {int((~ok).sum())} of {len(ok)} twins.")


@dataclass(frozen=True, eq=False)
class Simulated:
    """How a cohort of simulated twins becomes a program of CVODES.

    Attributes:
        model: its number.
        drawn: parameters of each twin, in the order of the C program.
        initial: states at time 0.
        saves: times.
        observed: indices of states.
        doses: of the quantities and parameters: time, amount and duration (or None) of each dose.
        share: of a dose that enters the first state.
        floor: share of the tolerance that the absolute one is.
    """

    model: int
    drawn: Columns
    initial: Callable[[Columns], Inexact[np.ndarray, "twins states"]]
    saves: Float[np.ndarray, " saves"]
    observed: tuple[int, ...]
    doses: Callable[[Columns], list[tuple[Any, Any, Any]]]
    share: Callable[[Columns], Any]
    floor: float

    def program(self, q: Columns) -> tuple[Program, Int[np.ndarray, "twins saves"]]:
        """The program, and at the ends of which of its stretches there are saves."""
        p = {name: q.get(name, column) for name, column in self.drawn.items()}
        given = self.doses({**p, **q})
        twins, saves = len(next(iter(self.drawn.values()))), len(self.saves)
        marks: list[Any] = [np.full(twins, t) for t in self.saves]
        for time, _, duration in given:
            marks += [time] if duration is None else [time, time + duration]
        times = np.stack(marks, axis=1)
        order = np.argsort(np.real(times), axis=1, kind="stable")
        place = np.argsort(order, axis=1)
        ordered = np.take_along_axis(times, order, axis=1)
        lengths = np.diff(ordered, axis=1, prepend=0.0)
        initial = self.initial({**p, **q})
        kind = np.result_type(times, *p.values(), *(amount for _, amount, _ in given))
        inputs = np.zeros(lengths.shape, kind)
        jumps = np.zeros((*lengths.shape, initial.shape[1]), kind)
        stretch, row, mark = np.arange(lengths.shape[1])[None, :], np.arange(twins), saves
        for _, amount, duration in given:
            begin = place[:, mark]
            if duration is None:
                late = begin + 1 < lengths.shape[1]  # else nobody looks any more
                jumps[row[late], begin[late] + 1, 0] += (self.share({**p, **q}) * amount)[late]
                mark += 1
                continue
            running = (stretch > begin[:, None]) & (stretch <= place[:, mark + 1][:, None])
            inputs += np.where(running, (amount / duration)[:, None], 0.0)
            mark += 2
        return Program(self.model, np.stack(list(p.values()), axis=1), initial, lengths, inputs, jumps), place[
            :, :saves
        ]

    def solved(self, q: Columns) -> tuple[cvodes.Solved, Int[np.ndarray, "twins saves"]]:
        """At 1e-12, and at the ends of which stretches there are saves."""
        program, where = self.program(q)
        found = cvodes.solve(program, rtol=TOLERANCE, atol=TOLERANCE * self.floor)
        check(found.ok)
        return found, where

    def point(self, q: Columns) -> Float[np.ndarray, "twins saves observed"]:
        """What is observed."""
        return self._observed(*self.solved(q))

    def _observed(
        self, found: cvodes.Solved, where: Int[np.ndarray, "twins saves"]
    ) -> Float[np.ndarray, "twins saves observed"]:
        return np.take_along_axis(found.values, where[..., None], axis=1)[..., list(self.observed)]

    def forward(self, at: Columns) -> Truth:
        """By CVODES' sensitivities, the directions by the complex step."""
        program, where = self.program(at)
        moved = [self.program({**at, name: column + 1j * TINY})[0] for name, column in at.items()]
        directions = [
            dataclasses.replace(
                program,
                **{
                    name: np.imag(getattr(direction, name)) / TINY
                    for name in ("parameters", "initial", "lengths", "inputs", "jumps")
                },
            )
            for direction in moved
        ]
        found = cvodes.solve(
            program,
            rtol=TOLERANCE,
            atol=TOLERANCE * self.floor,
            directions=directions,
            sizes=np.abs(np.stack(list(at.values()), axis=1)),
        )
        check(found.ok)
        jacobian = np.take_along_axis(found.slopes, where[..., None, None], axis=1)[:, :, list(self.observed)]
        return Truth(jacobian, size_of(jacobian, self._observed(found, where), at))
