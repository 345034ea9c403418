"""CuBIE and gradsolve, where they are installed: neither is a dependency (``pip install -e ".[gpu]"``)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.gpu.problems import Columns, Problem, Settings
from benchmarks.peers.build import Unavailable
from vht.model import initial_state, with_parameters


class Solved(NamedTuple):
    """What CuBIE gives.

    Attributes:
        values: at the end.
        ok: trajectories that reached it.
    """

    values: Float[np.ndarray, "trajectories states"]
    ok: Bool[np.ndarray, " trajectories"]


def version(package: str) -> str:
    """Of an installed package.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise Unavailable(f'not installed: pip install "{package}" brings it') from None


class _Text(str):
    """A number that writes down what is done with it."""

    def _with(self, sign: str, other: Any) -> _Text:
        return _Text(f"({self} {sign} {other})")

    def __add__(self, other: Any) -> _Text:
        return self._with("+", other)

    def __radd__(self, other: Any) -> _Text:
        return _Text(other)._with("+", self)

    def __sub__(self, other: Any) -> _Text:
        return self._with("-", other)

    def __rsub__(self, other: Any) -> _Text:
        return _Text(other)._with("-", self)

    def __mul__(self, other: Any) -> _Text:
        return self._with("*", other)

    def __rmul__(self, other: Any) -> _Text:
        return _Text(other)._with("*", self)

    def __truediv__(self, other: Any) -> _Text:
        return self._with("/", other)

    def __neg__(self) -> _Text:
        return _Text(f"(-{self})")


def equations(problem: Problem) -> list[str]:
    """A model's rates as text, such as ``dx = (10.0 * (y - x))``; parameters that do not differ as numbers.

    Raises:
        Unavailable: they are more than sums, products and quotients.
    """
    names: Any = {name: _Text(name) for name in problem.draw(2)}
    model, time = with_parameters(problem.model, names), cast(Any, _Text("t"))
    try:
        found = model.rates(time, model.State(**{name: _Text(name) for name in problem.states}), None)
    except (TypeError, ValueError, AttributeError):
        raise Unavailable(
            "its rates are more than sums, products and quotients, which are all that is written"
        ) from None
    return [f"d{name} = {getattr(found, name)}" for name in problem.states]


def cubie(
    problem: Problem, settings: Settings, precision: str
) -> tuple[Callable[[Columns], Any], Callable[[Any], Any], Callable[[Any], Solved]]:
    """What makes CuBIE's arguments from columns, its solve of them, from host to host, and what puts its results into rows.

    By Tsit5, or by Rodas5P where the problem is stiff, with its own controllers, and its estimate of a first step where none
    is given.

    Raises:
        Unavailable: it is not installed, or has no equations of this problem.
    """
    version("cubie")
    written = equations(problem)
    import jax
    from cubie import Solver, create_ODE_system  # type: ignore[import-not-found]

    def begin(mine: Any) -> Any:
        state = initial_state(with_parameters(problem.model, mine))
        return {name: jax.numpy.asarray(getattr(state, name), precision) for name in problem.states}

    def given(columns: Columns) -> Columns:
        return {name: column.astype(precision) for name, column in columns.items()}

    two = given(problem.draw(2))
    starts = {name: np.asarray(column) for name, column in jax.vmap(begin)(two).items()}
    # not copied to the device for each trajectory where they are the same
    same = all(first == second for first, second in starts.values())
    system = create_ODE_system(
        written,
        states={name: float(column[0]) for name, column in starts.items()},
        parameters={name: float(getattr(problem.model, name)) for name in two},
        precision=np.dtype(precision).type,
    )
    if settings.step is not None:
        stepping: dict[str, Any] = {"step_controller": "fixed", "dt": settings.step}
    else:
        stepping = {"rtol": settings.rtol, "atol": settings.rtol * problem.threshold, "dt_min": 1e-9}
        stepping |= {"dt": settings.first_step} if settings.first_step else {}
    method = "rodas5p" if problem.stiff else "tsit5"
    solver = Solver(system, algorithm=method, output_types=["state"], **stepping)

    def prepare(columns: Columns) -> Any:
        own = given(columns)
        return None if same else {name: np.asarray(column) for name, column in jax.vmap(begin)(own).items()}, own

    def call(arguments: Any) -> Any:
        return solver.solve(*arguments, duration=problem.end, grid_type="verbatim")

    def in_rows(found: Any) -> Solved:
        names = [found.time_domain_legend[i] for i in range(len(problem.states))]
        values = np.asarray(found.as_numpy["time_domain_array"])[-1]
        ordered = np.stack([values[names.index(name)] for name in problem.states], axis=1)
        return Solved(ordered, np.asarray(found.status_codes) == 0)

    return prepare, call, in_rows


def gradsolve(problem: Problem, settings: Settings, device: str) -> Callable[[Columns, Any], tuple[Any, Any, str]]:
    """gradsolve's gradient of the sum of all states at the end by each trajectory's columns and initial values.

    Returns:
        ``(columns, initial) -> gradient, arguments, route``: records the steps that these trajectories take; the gradient,
        under `jit`, then is a function of the arguments that replays those steps.

    Raises:
        Unavailable: it is not installed, or has no rates on a vector of this problem.
    """
    version("gradsolve")
    if problem.vector is None:
        raise Unavailable("no rates on a vector here")
    import gradsolve as package  # type: ignore[import-not-found]
    import jax
    import jax.numpy as jnp

    names, vector = tuple(problem.draw(2)), problem.vector

    class Theirs:
        """What gradsolve asks of a problem."""

        name, dim, t0, t1, is_stiff = f"vht_{problem.name}", len(problem.states), 0.0, problem.end, problem.stiff

        def f_jax(self, t: Any, y: Any, p: Any) -> Any:
            del t
            return vector(y, {name: p[i] for i, name in enumerate(names)})

    theirs = Theirs()

    def record(columns: Columns, initial: Any) -> tuple[Any, Any, str]:
        parameters = np.stack([np.asarray(columns[name]) for name in names], axis=1)
        end = package.grad_closure(
            *(theirs, np.asarray(initial), parameters),
            wrt=("y0", "params"),
            rtol=settings.rtol,
            atol=settings.rtol * problem.threshold,
            device=device,
        )

        def total(y: Any, p: Any) -> Any:
            return jnp.sum(end(y, p))

        def gradient(y: Any, p: Any) -> tuple[Any, Any]:
            by_initial, by_parameters = jax.grad(total, argnums=(0, 1))(y, p)
            return {name: by_parameters[:, i] for i, name in enumerate(names)}, by_initial

        return jax.jit(gradient), (np.asarray(initial), parameters), str(end.route)

    return record
