"""What is solved: models, what differs between trajectories, and how XLA would best be given the same equations."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Float

from benchmarks.peers.cuda_kernels import Mode
from vht.model import Organ, Scalar, Vars, param, state, states

Columns = dict[str, Float[np.ndarray, " trajectories"]]
SPREAD = 0.2  # standard deviation of the logarithm of what differs between stiff trajectories, as in `benchmarks stiff`


class Lorenz(Organ):
    """Lorenz (1963), as in the ensembles of Utkarsh et al. (2024), doi 10.1016/j.cma.2023.116591."""

    time: ClassVar[str] = "1"
    rho: Scalar = param(21.0, "1", "Rayleigh number over its critical value")

    class State(Vars):
        x: Scalar = state(1.0, "1", "convection")
        y: Scalar = state(0.0, "1", "temperature difference")
        z: Scalar = state(0.0, "1", "distortion of the temperature profile")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(x=10.0 * (x.y - x.x), y=x.x * (self.rho - x.z) - x.y, z=x.x * x.y - (8.0 / 3.0) * x.z)


@functools.cache
def lorenz96(size: int) -> type[Organ]:
    """Lorenz's model of 1996 on a circle of so many states; every one starts as the forcing, the first 0.01 above it."""
    names = [f"x{i}" for i in range(size)]

    def fill(space: dict[str, Any]) -> None:
        space["__module__"] = __name__
        space["__annotations__"] = dict.fromkeys(names, Scalar)
        space.update({name: state(8.0, "1", "one place on the circle") for name in names})

    group = types.new_class("State", (Vars,), exec_body=fill)

    class Lorenz96(Organ):
        """dx_i/dt = (x_(i+1) - x_(i-2)) x_(i-1) - x_i + F."""

        time: ClassVar[str] = "1"
        F: Scalar = param(8.0, "1", "forcing")
        State: ClassVar[type[Any]] = group

        def initial(self) -> Any:
            return group(**{name: self.F + 0.01 if name == "x0" else self.F + 0.0 for name in names})

        def rates(self, t: Scalar, x: Any, u: Any) -> Any:
            v = [getattr(x, name) for name in names]
            return group(
                **{name: (v[(i + 1) % size] - v[i - 2]) * v[i - 1] - v[i] + self.F for i, name in enumerate(names)}
            )

    return Lorenz96


@dataclass(frozen=True, eq=False)
class Problem:
    """What is solved from time 0 on, and looked at in the end.

    Attributes:
        name: also that of the kernel by hand (`benchmarks.peers.cuda_kernels`).
        model: this package's, with its own parameters.
        end: time.
        draw: ``trajectories -> `` what differs between them, by name.
        stiff: Rodas5P here, Kvaerno5 in diffrax; Tsit5 otherwise.
        threshold: size of a state from which on its relative error counts, which is atol over rtol.
        vector: ``(y, columns) -> rates`` on one vector of states for XLA; None takes the model's own, on scalars.
        pulse: an input, as in `benchmarks.stiff_problems`, or None.
    """

    name: str
    model: Organ
    end: float
    draw: Callable[[int], Columns]
    stiff: bool = False
    threshold: float = 1.0
    vector: Callable[[Any, Any], Any] | None = None
    pulse: Any = None

    @functools.cached_property
    def states(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(states(self.model))

    @property
    def schedule(self) -> Any:
        """The input, as this package's schedule."""
        from vht.solve import Doses, Schedule

        if self.pulse is None:
            return Schedule()
        start, duration = np.array([self.pulse.start]), np.array([self.pulse.duration])
        amount = np.array([self.pulse.value * self.pulse.duration])
        return Schedule(doses={self.pulse.port: Doses(start, amount, duration)})


def evenly(name: str, low: float, high: float) -> Callable[[int], Columns]:
    """A parameter that lies evenly between two numbers, both of them included."""
    return lambda count: {name: np.linspace(low, high, count)}


def _lorenz_vector(y: Float[Array, " 3"], columns: Any) -> Float[Array, " 3"]:
    import jax.numpy as jnp

    a, b, c = y[0], y[1], y[2]
    return jnp.stack([10.0 * (b - a), a * (columns["rho"] - c) - b, a * b - (8.0 / 3.0) * c])


def _lorenz96_vector(y: Float[Array, " n"], columns: Any) -> Float[Array, " n"]:
    import jax.numpy as jnp

    return (jnp.roll(y, -1) - jnp.roll(y, 2)) * jnp.roll(y, 1) - y + columns["F"]


@functools.cache
def problem(name: str) -> Problem:
    """A problem by its name: ``lorenz``, ``lorenz96_N``, ``circulation``, ``pollu`` or ``ten_tusscher``.

    Raises:
        KeyError: there is none.
    """
    if name == "lorenz":
        return Problem(name, Lorenz(), 1.0, evenly("rho", 0.0, 21.0), vector=_lorenz_vector)
    if name.startswith("lorenz96_"):
        size = int(name.removeprefix("lorenz96_"))
        # up to the first folds: the start is so close to an unstable rest that rounding grows by e^8 already
        return Problem(name, lorenz96(size)(), 1.0, evenly("F", 7.5, 8.5), vector=_lorenz96_vector)
    if name == "circulation":
        from vht.organs.circulation import Circulation

        return Problem(name, Circulation(), 10.0, _circulation)
    from benchmarks.stiff_problems import POLLU, TEN_TUSSCHER, ensemble

    stiff = {"pollu": POLLU, "ten_tusscher": TEN_TUSSCHER}[name]

    def drawn_stiff(count: int) -> Columns:
        twins = ensemble(stiff, count, spread=SPREAD, seed=4)
        return {key: np.ascontiguousarray(twins.parameters[:, i]) for i, key in enumerate(twins.names)}

    return Problem(name, stiff.model, stiff.end, drawn_stiff, True, stiff.threshold, pulse=stiff.pulse)


def _circulation(count: int) -> Columns:
    from vht.model import Twins
    from vht.organs.circulation import Circulation

    return dict(Twins.sample(Circulation(), count, seed=0).columns)


def of_all(problem: Problem, columns: Columns, names: tuple[str, ...]) -> Float[np.ndarray, "columns trajectories"]:
    """The columns named, those that do not differ with the model's own number."""
    count = len(next(iter(columns.values())))
    return np.stack([columns.get(name, np.full(count, float(getattr(problem.model, name)))) for name in names])


def rolled(columns: Columns, by: int) -> Columns:
    """The same trajectories in another order: fresh numbers for another run of equal work."""
    return {name: np.roll(column, by) for name, column in columns.items()}


def errors(
    values: Float[np.ndarray, "trajectories states"],
    truth: Float[np.ndarray, "trajectories states"],
    threshold: float,
) -> Float[np.ndarray, " trajectories"]:
    """Each trajectory's largest error, relative to the state's size plus the problem's threshold."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.max(np.abs(values.astype(np.float64) - truth) / (np.abs(truth) + threshold), axis=1)


@dataclass(frozen=True)
class Settings:
    """How a problem is solved.

    Attributes:
        rtol: relative tolerance of one step; the absolute one is the problem's threshold times it.
        step: fixed steps of this size instead.
        classical: fixed steps of the classical Runge-Kutta method, not of Tsit5.
        first_step: where steps are adaptive; 0 lets the solver guess.
    """

    rtol: float = 1e-8
    step: float | None = None
    classical: bool = False
    first_step: float = 0.0

    @property
    def mode(self) -> Mode:
        """Kind of steps."""
        return "adaptive" if self.step is None else "rk4" if self.classical else "fixed"

    def but(self, **changes: Any) -> Settings:
        """The same with changes."""
        return dataclasses.replace(self, **changes)
