"""Cohorts whose twins take unequal numbers of steps, for the benchmark of regrouping."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float, Int

from benchmarks.bodies_models import trial
from benchmarks.cases import Regroup
from benchmarks.peers import stiff_lanes
from benchmarks.stiff_problems import OREGO, POLLU, ensemble
from vht.model import Organ, Scalar, Twins, Vars, param, state
from vht.solve import Auto, Doses, Rodas5P, Schedule, Tsit5, choose_method, simulate
from vht.solve.given import Given
from vht.solve.request import Request

DAY = 1440.0
MEALS = 6


class Lorenz(Organ):
    """E. N. Lorenz, "Deterministic nonperiodic flow", J. Atmos. Sci. 20 (1963) 130."""

    time: ClassVar[str] = "1"
    rho: Scalar = param(21.0, "1", "Rayleigh number over its critical value")
    sigma: Scalar = param(10.0, "1", "Prandtl number")
    beta: Scalar = param(8.0 / 3.0, "1", "shape of the rolls")

    class State(Vars):
        x: Scalar = state(1.0, "1", "convection")
        y: Scalar = state(0.0, "1", "difference of temperature of the currents")
        z: Scalar = state(0.0, "1", "bend of the profile of temperature")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(x=self.sigma * (x.y - x.x), y=x.x * (self.rho - x.z) - x.y, z=x.x * x.y - self.beta * x.z)


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort:
    """What is solved.

    Attributes:
        name: of it.
        model: theirs.
        columns: in which they differ.
        times: of the saves, for all or of each.
        method: with its tolerances.
        schedule: for all, or of each.
    """

    name: str
    model: Organ
    columns: Mapping[str, Float[np.ndarray, " twins"]]
    times: Float[np.ndarray, "*twins saves"]
    method: Any
    schedule: Schedule | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, rows: Int[np.ndarray, " some"]) -> Cohort:
        """Some of the twins."""

        def of(table: Any) -> Any:
            return np.asarray(table)[rows] if np.ndim(table) == 2 else table

        columns = {name: column[rows] for name, column in self.columns.items()}
        schedule = None if self.schedule is None else jax.tree.map(of, self.schedule)
        return dataclasses.replace(self, columns=columns, times=of(self.times), schedule=schedule)

    def looser(self, factor: float) -> Cohort:
        """The same with larger tolerances."""
        rtol, atol = min(self.method.rtol * factor, 0.1), self.method.atol * factor
        return dataclasses.replace(self, method=dataclasses.replace(self.method, rtol=rtol, atol=atol))

    def moved(self, by: float, seed: int, together: bool) -> Cohort:
        """The same with parameters multiplied by log-normal numbers: each twin's own, or one a parameter."""
        random = np.random.default_rng([seed, 7])
        shape = () if together else (len(self),)
        columns = {name: column * np.exp(by * random.standard_normal(shape)) for name, column in self.columns.items()}
        return dataclasses.replace(self, columns=columns)

    def counts(self) -> dict[str, Float[np.ndarray, " twins"]]:
        """What is known of the twins' work without any solve: entries of their own schedules, length of their own solves."""
        found = {}
        if np.ndim(self.times) == 2:
            found["length of the solve"] = np.asarray(self.times)[:, -1]
        tables = [] if self.schedule is None else list(self.schedule.doses.values())
        own = [np.isfinite(np.asarray(doses.time)).sum(axis=1) for doses in tables if np.ndim(doses.time) == 2]
        if own:
            found["entries of the schedule"] = np.sum(own, axis=0).astype(float)
        return found

    @functools.cached_property
    def given(self) -> Given:
        """Their numbers, as the solver has them."""
        return Request.of(self.model, self.times, dict(self.columns), None, 0.0, self.schedule, None, self.method).given

    def solve(self, size: int | None = None) -> Any:
        """In lanes; in slices of a size, if one is given."""
        return simulate(
            self.model,
            self.times,
            twins=dict(self.columns),
            schedule=self.schedule,
            method=self.method,
            backend="lanes",
            device="cpu",
            slice_size=size,
        )


def cohorts(case: Regroup) -> Iterator[Cohort]:
    """All of them."""
    for name in case.models:
        yield _of_library(name, case, case.few if name in case.slow else case.twins)
    if case.meals:
        yield _meals(case, False)
        yield _meals(case, True)
    for problem in (POLLU, OREGO):
        if problem.name in case.problems:
            twins = ensemble(problem, case.twins, spread=case.spread, seed=case.seed)
            columns = {name: twins.parameters[:, i].copy() for i, name in enumerate(twins.names)}
            method = stiff_lanes.method(problem, case.rtol)
            yield Cohort(f"{problem.name}, {case.spread:.0%}", problem.model, columns, np.array([problem.end]), method)
    rho = np.linspace(0.0, 21.0, case.twins)
    shuffled = np.random.default_rng(case.seed).permutation(rho)
    for order, column in (("in order", rho), ("shuffled", shuffled)):
        method = Tsit5(rtol=case.lorenz, atol=case.lorenz)
        yield Cohort(f"Lorenz, rho 0-21 {order}", Lorenz(), {"rho": column}, np.array([1.0]), method)


def _of_library(name: str, case: Regroup, count: int) -> Cohort:
    from vht.library import catalogue

    model = catalogue()[name]()
    own = trial(name, model)
    rtol, atol = {"circulation": (1e-4, 1e-4), "cardio_respiratory": (1e-3, 1e-4)}.get(name, (case.rtol, case.atol))
    columns = dict(Twins.sample(model, count, seed=case.seed).columns)
    times, schedule = np.linspace(0.0, own.span, case.saves), own.schedule(model)
    if own.stiff is None:
        method = choose_method(model, times, twins=columns, schedule=schedule, method=Auto(rtol=rtol, atol=atol))
    else:
        method = (Rodas5P if own.stiff else Tsit5)(rtol=rtol, atol=atol)
    return Cohort(name, model, columns, times, dataclasses.replace(method, max_steps=1_000_000), schedule)


def _meals(case: Regroup, own_spans: bool) -> Cohort:
    """Diabetics with none to six meals a day of their own, over a day or over six hours to three days of their own."""
    from vht.library import catalogue

    model = catalogue()["hovorka"]()
    random = np.random.default_rng([case.seed, 3])
    span = random.uniform(0.25 * DAY, 3.0 * DAY, case.twins) if own_spans else np.full(case.twins, DAY)
    eaten = np.arange(MEALS) < random.integers(0, MEALS + 1, case.twins)[:, None]
    # g of carbohydrate over a quarter of an hour each
    time = np.where(eaten, np.sort(random.uniform(0.0, DAY, eaten.shape), axis=1), np.inf)
    amount = np.where(eaten, random.uniform(20.0, 100.0, eaten.shape), 0.0)
    meals = Doses(time=time, amount=amount, duration=np.where(eaten, 15.0, 0.0))
    share = np.linspace(0.0, 1.0, 2 * case.saves)
    return Cohort(
        "hovorka, own meals" + (" and spans" if own_spans else ""),
        model,
        dict(Twins.sample(model, case.twins, seed=case.seed).columns),
        share * span[:, None] if own_spans else share * DAY,
        Tsit5(rtol=case.rtol, atol=case.atol),
        Schedule(doses={"meal": meals}),
    )
