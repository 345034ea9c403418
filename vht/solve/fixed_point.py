"""What steady and periodic states share: statuses, the result, conserved quantities and the linear algebra of Newton's step."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from vht.model import Organ, conserved, outputs, states, with_parameters
from vht.solve import blocks
from vht.solve.given import Given, Plan, Used
from vht.solve.methods import Method
from vht.solve.plan import solve
from vht.solve.request import Request
from vht.solve.sensitivity import Direction
from vht.solve.status import Status, flag_attributes
from vht.solve.system import Named, System, Values
from vht.solve.trajectory import Failure, Label, Numbers, beside

if TYPE_CHECKING:
    import xarray


Parameters = Mapping[str, Float[Array, " twins"]]


class FixedPointStatus(enum.IntEnum):
    """How the search for one twin's steady or periodic state ended. Codes below 16 are those of `Status`."""

    OK = 0
    MAX_STEPS = 1
    STEP_TOO_SMALL = 2
    NON_FINITE = 3
    SINGULAR = 4
    NO_INITIAL_VALUE = 5
    EVENT_STORM = 6
    NO_CONVERGENCE = 16
    NOT_PERIODIC = 17

    @property
    def label(self) -> str:
        """The name used in tables."""
        return self.name.lower()

    @property
    def message(self) -> str:
        """What happened and what to try."""
        if self in _MESSAGES:
            return _MESSAGES[self]
        return f"The simulation that the search needs failed. {Status(int(self)).message}"


_MESSAGES = {
    FixedPointStatus.OK: "The state repeats itself within the tolerance.",
    FixedPointStatus.SINGULAR: (
        "There is no one steady or periodic state: some combination of states stays as it was, or nothing holds it. If it is "
        "conserved, such as a closed volume of blood, declare it in the model's class `Conserved`, and the initial state's "
        "amount is kept (quantities that follow from one another only once); else look for parameters that switch a return "
        "off, such as a clearance of zero, or an inflow as large as the most that is eliminated."
    ),
    FixedPointStatus.NO_CONVERGENCE: (
        "The budget was spent before the state repeated itself within the tolerance: try a larger budget, an initial state "
        "nearer by, a looser `tolerance` or a `method` with a tighter `rtol`. There may also be no such state: simulate the "
        "twin and see whether it grows, drifts (what the model declares in `Conserved` must be kept by its rates) or repeats "
        "itself only after several periods."
    ),
    FixedPointStatus.NOT_PERIODIC: (
        "The rates after one `period` are not those before it, so that nothing repeats: give the period of what drives "
        "the model, such as the name of its heart period."
    ),
}


@dataclasses.dataclass(frozen=True)
class FixedPointSettings:
    """How a fixed point was found.

    Attributes:
        model: name of the model's class.
        time_unit: unit of every time.
        kind: "steady" or "periodic".
        method: of the simulations, with its settings.
        tolerance: of the residual.
        backend: that ran, "lanes" or "xla".
        states: names of the model's states.
        note: why this method, if it was not the user who chose it.
        device: platform that it ran on, such as "cpu" or "gpu"; inside a transformation the one to be expected.
    """

    model: str
    time_unit: str
    kind: str
    method: Method
    tolerance: float
    backend: str
    states: tuple[str, ...] = ()
    note: str = ""
    device: str = "cpu"


class FixedPoint(eqx.Module):
    """Each twin's steady state, or its periodic state at the start of a period.

    Attributes:
        values: by name of the state or output; NaN for a twin without one.
        residual: how far the state is from repeating itself, as a share of each state's size, the largest of all states;
            see `steady_state` and `periodic_state` for how it is measured.
        growth: by what rate small disturbances grow, per unit of time: negative if the state is stable. Disturbances that
            change a conserved quantity are left out.
        status: `FixedPointStatus` code of each twin.
        iterations: Newton's, for a steady state; periods simulated, those with sensitivities among them, for a periodic one.
        jacobians: how often the Jacobian was worked out; for a periodic state, periods simulated with sensitivities.
        steps: of the integration, tried in all simulations together.
        settings: how it was found.
        labels: of the values.
        names: of the twins; None where they have none.
    """

    values: dict[str, Float[Numbers, " twins"]]
    residual: Float[Numbers, " twins"]
    growth: Float[Numbers, " twins"]
    status: Int[Numbers, " twins"]
    iterations: Int[Numbers, " twins"]
    jacobians: Int[Numbers, " twins"]
    steps: Int[Numbers, " twins"]
    settings: FixedPointSettings = eqx.field(static=True)
    labels: tuple[Label, ...] = eqx.field(static=True, default=())
    names: tuple[str, ...] | None = eqx.field(static=True, default=None)

    @property
    def ok(self) -> Bool[Numbers, " twins"]:
        """Which twins have a state that repeats itself."""
        return self.status == np.int32(FixedPointStatus.OK)

    @property
    def initial(self) -> dict[str, Float[Numbers, " twins"]]:
        """The states alone, ready for the `initial` of `simulate`.

        Raises:
            ValueError: a state is not among what was observed.
        """
        missing = [name for name in self.settings.states if name not in self.values]
        if missing:
            raise ValueError(
                f"`initial` needs all states, but `{missing[0]}` was not observed: leave `observe` out, or name it there."
            )
        return {name: self.values[name] for name in self.settings.states}

    def name(self, twin: int) -> str:
        """The name of a twin, its number where it has none."""
        return str(twin) if self.names is None else self.names[twin]

    def message(self, twin: int) -> str:
        """How a twin's search ended, and what to try."""
        return FixedPointStatus(int(self.status[twin])).message

    def failures(self) -> list[Failure]:
        """The twins without a steady or periodic state, in order."""
        codes = np.asarray(self.status)
        found = [(int(i), FixedPointStatus(int(codes[i]))) for i in np.flatnonzero(codes != FixedPointStatus.OK)]
        return [Failure(i, self.name(i), status.label, status.message) for i, status in found]

    def to_xarray(self) -> xarray.Dataset:
        """The values as a labelled dataset over ``twin``: unit, meaning and source in each variable's attributes.

        Beside them are `status`, `residual`, `growth`, `iterations`, `jacobians` and `steps`; for names that clash see
        `Trajectory.to_xarray`.
        """
        import xarray

        twins = np.arange(len(np.asarray(self.status))) if self.names is None else np.asarray(self.names, dtype=str)
        labels = {label.name: label for label in self.labels}
        data: dict[str, Any] = {}
        for name, value in self.values.items():
            key = beside(name, self.values) if name == "twin" else name
            data[key] = ("twin", np.asarray(value), labels[name].attributes)
        s = self.settings
        rate = {"units": f"1/{s.time_unit}", "long_name": "rate by which small disturbances grow"}
        turns = "periods simulated" if s.kind == "periodic" else "Newton iterations"
        search = {
            "status": {"long_name": "how the search ended", **flag_attributes(FixedPointStatus)},
            "residual": {"units": "1", "long_name": "distance from repeating"},
            "growth": rate,
            "iterations": {"long_name": turns},
            "jacobians": {"long_name": "Jacobians worked out"},
            "steps": {"long_name": "steps tried by the integration"},
        }
        for name, attributes in search.items():
            data[beside(name, data)] = ("twin", np.asarray(getattr(self, name)), attributes)
        attributes = {
            "model": s.model,
            "kind": s.kind,
            "method": repr(s.method),
            "tolerance": s.tolerance,
            "backend": s.backend,
            "device": s.device,
            **({"chosen": s.note} if s.note else {}),
        }
        return xarray.Dataset(data, {"twin": ("twin", twins)}, attributes)


def fixed_point(
    request: Request, observed: tuple[str, ...], kind: str, tolerance: float, found: Any, used: Used
) -> FixedPoint:
    """The result: what a search found, with what is known about it."""
    model = request.model
    variables = {**states(model), **outputs(model)}
    labels = tuple(Label.of(variables[name]) for name in observed)
    settings = FixedPointSettings(
        type(model).__name__,
        model.time,
        kind,
        request.method,
        tolerance,
        used.backend,
        request.plan.system.states,
        request.note,
        used.device,
    )
    return FixedPoint(**found, settings=settings, labels=labels, names=request.names)


def checked_tolerance(tolerance: float | None, method: Method) -> float:
    """The tolerance of the residual; what the integration can keep, if none is asked for.

    Raises:
        ValueError: it is no positive number.
    """
    if tolerance is None:
        return method.rtol if method.rtol > 0.0 else 1e-8
    if not (isinstance(tolerance, Real) and 0.0 < float(tolerance) < np.inf):
        raise ValueError(f"`tolerance` must be a positive number, but got {tolerance!r}.")
    return float(tolerance)


# ----------------------------------------------------------------------------------------------------- cohort functions


def spread(plan: Plan, column: Array) -> Array:
    """A column with one entry for each twin."""
    return jnp.broadcast_to(jnp.asarray(column), (plan.twins,)).astype(np.float64)


def parameters_of(plan: Plan, given: Given) -> dict[str, Array]:
    """All parameters, one column each."""
    return {name: spread(plan, column) for name, column in given.parameters.items()}


def initial_of(plan: Plan, given: Given) -> tuple[Float[Array, "twins states"], Float[Array, "twins amounts"]]:
    """The initial states, on which nothing depends to first order but their amounts of the conserved quantities."""
    columns = parameters_of(plan, given), {name: spread(plan, column) for name, column in given.initial.items()}

    def of(p: Parameters, own: Parameters) -> tuple[Array, Array]:
        x = jnp.stack(jax.vmap(plan.system.initial)(dict(p), dict(own)), axis=-1)
        return x, amounts_of(plan.system, p, x)

    x, amounts = of(*columns)
    fine = jnp.isfinite(x).all(axis=1) & jnp.isfinite(amounts).all(axis=1)
    rows = stand_ins(fine)
    _, instead = of(*jax.tree.map(lambda column: column[rows], columns))
    return lax.stop_gradient(x), jnp.where(fine[:, None], instead, jnp.nan)


def stand_ins(ok: Bool[Array, " twins"]) -> Int[Array, " twins"]:
    """For each twin the number of the twin to compute with: its own, or that of one that is ok.

    The NaN of a twin without numbers would enter the derivatives of what all twins share, even where its result is replaced.
    """
    twins = ok.shape[0]
    return jnp.where(ok, jnp.arange(twins), jnp.argmax(ok) if twins else 0)


def conserved_values(system: System) -> Callable[[Named, Values], Values]:
    """``(parameters, states) -> amounts`` of the conserved quantities of one twin."""
    names = tuple(conserved(system.model))

    def amounts(p: Named, x: Values) -> Values:
        body: Organ = with_parameters(system.model, dict(p))
        found = body.conserved(system.model.State(**dict(zip(system.states, x, strict=True))))
        return tuple(jnp.asarray(getattr(found, name), np.float64) for name in names)

    return amounts


def amounts_of(system: System, p: Parameters, x: Float[Array, "twins states"]) -> Float[Array, "twins amounts"]:
    """Each twin's conserved quantities."""
    amounts = conserved_values(system)

    def of_twin(p: Named, x: Array) -> Array:
        found = amounts(p, tuple(x))
        return jnp.stack(found) if found else jnp.zeros((0,))

    return jax.vmap(of_twin)(p, x)


def amount_slopes(
    system: System, p: Parameters, x: Float[Array, "twins states"]
) -> Float[Array, "twins amounts states"]:
    """The derivatives of each twin's conserved quantities with respect to its states."""
    amounts = conserved_values(system)

    def of_twin(p: Named, x: Array) -> Array:
        found = jax.jacfwd(lambda x: amounts(p, tuple(x)))(x)
        return jnp.stack(found) if found else jnp.zeros((0, x.shape[0]))

    return jax.vmap(of_twin)(p, x)


def observed_at(
    system: System,
    observed: tuple[str, ...],
    time: Float[Array, " twins"],
    p: Parameters,
    x: Float[Array, "twins states"],
    u: Parameters,
    ok: Bool[Array, " twins"],
) -> dict[str, Float[Array, " twins"]]:
    """States and outputs, NaN for a twin that is not ok."""
    rows = stand_ins(ok)
    time, p, x, u = jax.tree.map(lambda column: column[rows], (time, dict(p), x, dict(u)))
    columns = tuple(x[:, i] for i in range(x.shape[1]))
    values = jax.vmap(system.observer(observed))(time, p, columns, u)
    return {name: jnp.where(ok, value, jnp.nan) for name, value in zip(observed, values, strict=True)}


class Simulated(NamedTuple):
    """The states at some times.

    Attributes:
        values: of the states.
        jacobian: of those at the last time with respect to the first; no columns if not asked for.
        status: `Status` codes.
        steps: tried.
    """

    values: Float[Array, "twins times states"]
    jacobian: Float[Array, "twins states _"]
    status: Int[Array, " twins"]
    steps: Int[Array, " twins"]


def simulated(
    plan: Plan,
    given: Given,
    x: Float[Array, "twins states"],
    times: Float[Array, "twins times"],
    chosen: Bool[Array, " twins"],
    jacobian: bool = False,
) -> Simulated:
    """Simulate the twins chosen from given states; the others take no time.

    Those chosen are put next to each other, so that no vector register of theirs waits for others.
    """
    order = jnp.argsort(~chosen, stable=True)
    back = jnp.argsort(order)
    names = plan.system.states
    times = jnp.where(chosen[:, None], times, jnp.inf)
    placed = given._replace(times=times, initial={name: x[:, i] for i, name in enumerate(names)})
    placed = jax.tree.map(lambda leaf, rank: leaf[order] if leaf.ndim > rank else leaf, placed, placed.ranks())
    directions = tuple(Direction("initial", name) for name in names) if jacobian else ()
    results, columns = solve(plan, placed, directions)
    found = [jnp.stack([column[name][:, -1] for name in names], axis=-1) for column in columns.columns]
    slopes = jnp.stack(found, axis=-1).astype(np.float64)[back] if found else jnp.zeros((plan.twins, len(names), 0))
    return Simulated(
        values=jnp.stack([results.values[name] for name in names], axis=-1).astype(np.float64)[back],
        jacobian=slopes,
        status=results.status[back],
        steps=jnp.where(chosen, results.steps[back], 0),
    )


# ------------------------------------------------------------------------------------------------------- linear algebra


def scaled(
    jacobian: Float[Array, "twins states states"],
    slopes: Float[Array, "twins amounts states"],
    scale: Float[Array, "twins states"],
) -> tuple[Float[Array, "twins states states"], Float[Array, "twins amounts states"], Float[Array, "twins amounts"]]:
    """Both in states measured by `scale`; the rows of `slopes` made as long as 1, and by what they were divided."""
    jacobian = jacobian * scale[:, None, :] / scale[:, :, None]
    slopes = slopes * scale[:, None, :]
    length = jnp.sqrt(jnp.sum(slopes * slopes, axis=-1))
    length = jnp.where(length > 0.0, length, 1.0)
    return jacobian, slopes / length[:, :, None], length


def bordered(
    jacobian: Float[Array, "twins states states"], slopes: Float[Array, "twins amounts states"]
) -> Float[Array, "twins rows rows"]:
    """The matrix of Newton's step that reaches given amounts of the conserved quantities.

    Where quantities C are conserved, the Jacobian A of what should vanish is singular: C' A = 0, since no step can change
    them. With their own equations below it and their slopes beside it, ``[[A, C'^T], [C', 0]]`` is regular if nothing else
    is conserved (Keller's bordering lemma; see Govaerts, Numerical Methods for Bifurcations of Dynamical Equilibria, 2000,
    section 3.2).
    """
    m = slopes.shape[1]
    right = jnp.concatenate([jnp.swapaxes(slopes, 1, 2), jnp.zeros((*slopes.shape[:1], m, m))], axis=1)
    return jnp.concatenate([jnp.concatenate([jacobian, slopes], axis=1), right], axis=2)


def smallest_share(
    jacobian: Float[Array, "twins states states"], slopes: Float[Array, "twins amounts states"]
) -> Float[Array, " twins"]:
    """How near the bordered matrix is to being singular: 0 if it is.

    The smallest singular value of both below each other, as a share of the largest or of 1; or that of the `slopes` (rows of
    length 1) if it is smaller: it is 0 for conserved quantities that follow from one another.
    """
    m, n = slopes.shape[1:]
    values = blocks.singular_values(jnp.concatenate([jacobian, slopes], axis=1))
    share = values[:, -1] / jnp.maximum(values[:, 0], 1.0)
    if m == 0:
        return share
    independent = blocks.singular_values(slopes)[:, -1] if m <= n else jnp.zeros_like(share)
    return jnp.minimum(share, independent)


def eigenvalues_within(
    matrix: Float[Array, "twins states states"], slopes: Float[Array, "twins amounts states"]
) -> Array:
    """The eigenvalues that belong to disturbances which change no conserved quantity; complex ``[twins, states - amounts]``.

    Such disturbances stay among themselves, so in a basis of theirs the matrix is smaller.
    """
    m, n = slopes.shape[1:]
    if m:
        # the rows of the right factor beyond the quantities span what leaves them alone
        basis = jnp.swapaxes(blocks.right_factor(slopes)[:, m:, :], 1, 2)
        matrix = jnp.einsum("tij,tik,tkl->tjl", basis, matrix, basis)
    finite = jnp.isfinite(matrix).all(axis=(1, 2))
    found = blocks.eigenvalues(jnp.where(finite[:, None, None], matrix, jnp.eye(n - m)[None]))
    return jnp.where(finite[:, None], found, jnp.nan)


def solve_each(
    matrices: Float[Array, "twins rows rows"], right: Float[Array, "twins rows"]
) -> Float[Array, "twins rows"]:
    """Each twin's linear system."""
    return blocks.solve(matrices, right[:, :, None])[:, :, 0]
