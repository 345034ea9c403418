"""Twins a second of every model of the library, in lanes and on diffrax or IDA, with the errors of both."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.bodies_models import REST, Trial, beyond_diffrax, trial
from benchmarks.cases import Bodies
from benchmarks.machine import cores
from benchmarks.measure import Measured, measure
from benchmarks.outcome import Column, Outcome, Say, Table
from benchmarks.peers import diffrax_models, ida
from benchmarks.peers.build import Unavailable
from vht.model import Organ, states, with_parameters

# of the reference's tolerances to those measured
TIGHTER = 1e-3

LANES = (
    Column("model", "model"),
    Column("states", "states", "d"),
    Column("simulated", "simulated"),
    Column("method", "method"),
    Column("twins", "twins", ",d"),
    Column("ok", "ok", ",d"),
    Column("steps", "steps", ",.0f"),
    Column("seconds", "seconds", ".3g"),
    Column("twins/s", "rate", ",.0f"),
    Column("median error", "error_median", ".1e"),
    Column("largest error", "error_max", ".1e"),
    Column("compile s", "compile_seconds", ".1f"),
)
PEERS = (
    Column("model", "model"),
    Column("peer", "peer"),
    Column("simulated", "simulated"),
    Column("twins", "twins", ",d"),
    Column("ok", "ok", ",d"),
    Column("steps", "steps", ",.0f"),
    Column("seconds", "seconds", ".3g"),
    Column("twins/s", "rate", ",.3g"),
    Column("median error", "error_median", ".1e"),
    Column("largest error", "error_max", ".1e"),
    Column("compile s", "compile_seconds", ".1f"),
    Column("lanes over it", "ratio", ",.3g"),
)

Columns = Mapping[str, Float[np.ndarray, " twins"]]


def speeds(case: Bodies, outcome: Outcome, say: Say) -> None:
    """Fill in the tables: bodies first, then organs."""
    from vht.library import catalogue

    library = catalogue()
    names = case.models or tuple(sorted(library, key=lambda name: (name not in REST, name)))
    rows, peers = [], []
    for name in names:
        model = library[name]()
        task = _task(name, model, case, say)
        say(f"{name}: lanes ...")
        own = task.lanes()
        rows.append(own)
        missing = beyond_diffrax(model)
        if missing:
            outcome.skipped[f"{name} on diffrax"] = f"it has {missing}, which diffrax does not know"
        try:
            if not missing:
                say(f"{name}: diffrax ...")
                peers.append(task.diffrax(own["rate"]))
            elif missing == "algebraic variables":
                say(f"{name}: IDA ...")
                peers.append(task.ida(own["rate"]))
        except Unavailable as error:
            outcome.skipped[f"{name} on IDA"] = str(error)
    outcome.tables += [Table("speed in lanes", LANES, rows), Table("speed of peers", PEERS, peers)]
    outcome.notes += [
        f"Speed: rtol {case.rtol:g} and atol {case.atol:g} for all; seconds are medians of {case.repeats} runs in lanes and of "
        f"{case.peer_repeats} of the peer, without compilation. Rates count twins that ended well.",
        f"Errors: largest over saves and states, as a share of the state's largest value in that twin plus atol / rtol, over "
        f"{case.reference} twins, against Rodas5P in lanes with tolerances {TIGHTER:g} times as large.",
        "diffrax: one call of `jax.vmap`, without what `simulate` does before and after, which takes a millisecond or two.",
        "IDA: one process, whose rate is multiplied by the number of cores; it calls the equations from Python, so that its "
        "rate says little, but its error much.",
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A model, its twins and what they do.

    Attributes:
        name: in the library.
        model: itself.
        trial: what it does.
        case: sizes and settings.
        columns: of the twins.
        method: in lanes.
    """

    name: str
    model: Organ
    trial: Trial
    case: Bodies
    columns: Columns
    method: Any

    @property
    def names(self) -> tuple[str, ...]:
        """Of the states."""
        return tuple(states(self.model))

    @property
    def times(self) -> Float[np.ndarray, " saves"]:
        """Of the saves."""
        return np.linspace(0.0, self.trial.span * self.case.share, self.case.saves)

    def solve(self, columns: Columns, method: Any) -> Any:
        """In lanes."""
        from vht.solve import simulate

        schedule = self.trial.schedule(self.model)
        return simulate(self.model, self.times, twins=columns, schedule=schedule, observe=self.names, method=method)

    @functools.cached_property
    def truth(self) -> tuple[Float[np.ndarray, "some saves states"], Bool[np.ndarray, " some"]]:
        """The reference of the first twins, and which of them have one."""
        from vht.solve import Rodas5P

        rtol, atol = self.case.rtol * TIGHTER, self.case.atol * TIGHTER
        method = Rodas5P(rtol=rtol, atol=atol, max_steps=10_000_000)
        found = self.solve(_first(self.columns, self.case.reference), method)
        return _values(found, self.names), np.asarray(found.ok)

    def lanes(self) -> dict[str, Any]:
        """A row."""
        found = measure(lambda: self.solve(self.columns, self.method), self.case.repeats)
        result = found.result
        row = self._row(found, _values(result, self.names), np.asarray(result.ok))
        return row | {
            "states": len(self.names),
            "method": type(self.method).__name__,
            "steps": float(np.median(result.steps)),
        }

    def diffrax(self, rate: float) -> dict[str, Any]:
        """A row beside that of lanes with the rate."""
        from vht.solve import Rodas5P

        stiff = self.trial.peer_stiff
        stiff = isinstance(self.method, Rodas5P) if stiff is None else stiff
        call = diffrax_models.solver(
            *(self.model, self.times),
            drives=self.trial.drives,
            stiff=stiff,
            rtol=self.case.rtol,
            atol=self.case.atol,
        )
        few = _first(self.columns, self.case.few if self.trial.few else self.case.diffrax)
        found = measure(lambda: call(few), self.case.peer_repeats)
        result = found.result
        row = self._row(found, result.values, result.ok)
        return row | {
            "peer": f"diffrax, {'Kvaerno5' if stiff else 'Tsit5'}",
            "steps": float(np.median(result.steps)),
            "ratio": rate / row["rate"] if row["rate"] else None,
        }

    def ida(self, rate: float) -> dict[str, Any]:
        """A row beside that of lanes with the rate; begins with the consistent states that lanes found."""
        count = self.case.ida
        few = _first(self.columns, count)
        settings: dict[str, Any] = {"drives": self.trial.drives, "rtol": self.case.rtol, "atol": self.case.atol}
        found = measure(lambda: ida.solve(self.model, self.times, few, self.truth[0][:count, 0], **settings), 1)
        row = self._row(found, found.result.values, found.result.ok)
        row["rate"] *= cores()
        return row | {"peer": "IDA", "steps": None, "ratio": rate / row["rate"] if row["rate"] else None}

    def _row(
        self,
        found: Measured[Any],
        values: Float[np.ndarray, "twins saves states"],
        ok: Bool[np.ndarray, " twins"],
    ) -> dict[str, Any]:
        """What all rows tell."""
        reference, known = self.truth
        count = min(len(values), len(reference))
        good = np.flatnonzero(ok[:count] & known[:count])
        size = np.max(np.abs(reference[good]), axis=1, keepdims=True) + self.case.atol / self.case.rtol
        errors = np.max(np.abs(values[good] - reference[good]) / size, axis=(1, 2))
        return {
            "model": self.name,
            "simulated": f"{self.times[-1]:g} {self.model.time}",
            "twins": len(values),
            "ok": int(ok.sum()),
            "seconds": found.median,
            "all_seconds": list(found.seconds),
            "rate": float(ok.sum() / found.median),
            "error_median": float(np.median(errors)) if errors.size else None,
            "error_max": float(np.max(errors)) if errors.size else None,
            "compile_seconds": found.compile_seconds,
        }


def _task(name: str, model: Organ, case: Bodies, say: Say) -> Task:
    from vht import Twins
    from vht.solve import Auto, Rodas5P, Tsit5, choose_method

    own = trial(name, model)
    model = with_parameters(model, own.parameters)
    columns = Twins.sample(model, case.lanes, seed=case.seed).columns
    tolerances = {"rtol": case.rtol, "atol": case.atol, "max_steps": 1_000_000}
    task = Task(name, model, own, case, columns, Rodas5P(**tolerances) if own.stiff else Tsit5(**tolerances))
    if own.stiff is not None:
        return task
    say(f"{name}: method ...")
    chosen = choose_method(
        model, task.times, twins=_first(columns, 8), schedule=own.schedule(model), method=Auto(**tolerances)
    )
    return dataclasses.replace(task, method=chosen)


def _values(found: Any, names: tuple[str, ...]) -> Float[np.ndarray, "twins saves states"]:
    return np.stack([np.asarray(found.values[name]) for name in names], axis=-1)


def _first(columns: Columns, count: int) -> dict[str, Float[np.ndarray, " some"]]:
    return {name: column[:count] for name, column in columns.items()}
