"""How to solve: frozen settings, checked when they are made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import jax

Precision = Literal["float64", "float32"]


@dataclasses.dataclass(frozen=True)
class Tsit5:
    """Tsitouras' explicit Runge-Kutta pair of orders 5 and 4, with adaptive steps and dense output of order 4.

    The error test holds every state, and every sensitivity where a Jacobian is asked for, to
    ``atol + rtol * |value|`` in the root mean square; the sensitivities to one quantity are tested after multiplication
    with that quantity's size, so that they have the states' units.

    Attributes:
        rtol: relative tolerance of one step.
        atol: absolute tolerance of one step, in each state's unit.
        max_steps: steps (tried, not only accepted) after which a twin ends as ``max_steps``; on the `xla` backend those
            between two events.
        step: if given, take steps of this size (shorter ones to land on events and on the end) without error test.
        first_step: if given, the first step is no larger; it is estimated otherwise (Hairer, Norsett, Wanner I, II.4).
        max_step: if given, no step is larger. Rates that change for a short while only, by time and not by a schedule,
            are not seen by steps that reach across: bound them by that while.
        dtype: what the states are computed in. Time is kept in float64 always. With "float32", tolerances below about
            1e-5 are out of reach: such a twin ends as ``step_too_small`` or ``max_steps``, or as ``ok`` with an error of
            about 1e-6 all the same, since the test does not see rounding.

    Raises:
        ValueError: a setting is out of range or no number; `max_steps` must be whole, and of a whole type (not 100.0).
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    max_steps: int = 100_000
    step: float | None = None
    first_step: float | None = None
    max_step: float | None = None
    dtype: Precision = "float64"

    def __post_init__(self) -> None:
        _check_common(self)
        _check_adaptive(self)

    def program(self) -> Tsit5:
        """The settings that need another program; to this package's own loop the others are numbers."""
        return Tsit5(step=None if self.step is None else 1.0, dtype=self.dtype)


@dataclasses.dataclass(frozen=True)
class RK4:
    """The classical Runge-Kutta method of order 4, in steps of equal size without error test; dense output of order 3.

    For comparisons, and where many cheap steps of a known size are wanted: a step evaluates the rates four times. Runs on the
    `lanes` backend only.

    Attributes:
        step: size of the steps; shorter ones are taken to land on events and on the end.
        max_steps: steps after which a twin ends as ``max_steps``.
        dtype: what the states are computed in, as in `Tsit5`.

    Raises:
        ValueError: a setting is out of range or no number; `max_steps` must be whole, and of a whole type (not 100.0).
    """

    step: float
    max_steps: int = 100_000
    dtype: Precision = "float64"
    # what all methods have; here there is no error test
    rtol: ClassVar[float] = 0.0
    atol: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _check_steps(self, ("step",))
        if self.step is None:
            raise ValueError("`step` must be a positive number, but got None.")
        _check_budget(self)

    def program(self) -> RK4:
        """The settings that need another program; to this package's own loop the others are numbers."""
        return RK4(1.0, dtype=self.dtype)


@dataclasses.dataclass(frozen=True)
class Rodas5P:
    """Steinebach's Rosenbrock method of orders 5 and 4 for stiff systems, with adaptive steps and dense output of order 4.

    Every step solves eight linear systems with one matrix, whose Jacobian JAX finds in the model's equations; it is sparse,
    and factored once a step. Solves differential-algebraic models (`vht.model.algebraic`) too. Sensitivities are held to the
    tolerance as in `Tsit5`. Runs on the `lanes` backend; on `xla` diffrax's Kvaerno5 takes its place.

    It was chosen by measurement over the ESDIRK method Kvaerno5 (`python -m benchmarks stiff`): no iteration that diverges
    in one lane and holds up the others, one factorisation a step, eight evaluations of the rates instead of about twenty.

    Attributes:
        rtol: relative tolerance of one step.
        atol: absolute tolerance of one step, in each state's unit.
        max_steps: steps (tried, not only accepted) after which a twin ends as ``max_steps``; on the `xla` backend those
            between two events.
        first_step: if given, the first step is no larger; it is estimated otherwise.
        max_step: if given, no step is larger.
        dtype: what the states are computed in, as in `Tsit5`.

    Raises:
        ValueError: a setting is out of range or no number; `max_steps` must be whole, and of a whole type (not 100.0).
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    max_steps: int = 100_000
    first_step: float | None = None
    max_step: float | None = None
    dtype: Precision = "float64"

    def __post_init__(self) -> None:
        _check_common(self)
        _check_steps(self, ("first_step", "max_step"))

    def program(self) -> Rodas5P:
        """The settings that need another program; to this package's own loop the others are numbers."""
        return Rodas5P(dtype=self.dtype)


@dataclasses.dataclass(frozen=True)
class RushLarsen:
    """Rush-Larsen steps of orders 3 and 2 for models with gates (`vht.model.gate`), as those of excitable cells.

    Gates are stepped by the solution of their own linear equation, so that fast ones do not bound the step; all other
    states explicitly. Adaptive steps are of order 3 with an embedded second order, those of fixed size of order 2, and cost
    three and two evaluations of the rates (`vht.solve.exponential`, with sources and what else was measured). Dense output is
    of order 2. The error test is that of `Tsit5`. Runs on the `lanes` backend only.

    For a beat of ten Tusscher 2006 (19 states, 400 ms, 256 twins with conductances spread by 20 %; the largest relative
    error of any state at 15 times, median of the twins) it takes 424 steps for 5e-3 and 896 for 4e-4, at `rtol` 1e-3 and
    1e-4; fixed steps of 0.05, 0.02 and 0.01 ms give 1e-1, 2e-2 and 5e-3; `Tsit5` takes 25,000 at any tolerance. `Rodas5P`
    takes about the same time for 1e-2, two thirds for 4e-4, a third for 5e-6: for one cell prefer it if accuracy is wanted, or
    if states that are no gates are fast too (O'Hara-Rudy's CiPA version: 14,000 steps here, 140 there). Fixed steps are
    what simulators of tissue take, and give a gradient that is the derivative of just those steps.

    Attributes:
        rtol: relative tolerance of one step.
        atol: absolute tolerance of one step, in each state's unit.
        max_steps: steps (tried, not only accepted) after which a twin ends as ``max_steps``.
        step: if given, take steps of this size (shorter ones to land on events and on the end) without error test.
        first_step: if given, the first step is no larger; it is estimated otherwise.
        max_step: if given, no step is larger.
        dtype: what the states are computed in, as in `Tsit5`.

    Raises:
        ValueError: a setting is out of range or no number; `max_steps` must be whole, and of a whole type (not 100.0).
    """

    rtol: float = 1e-4
    atol: float = 1e-8
    max_steps: int = 1_000_000
    step: float | None = None
    first_step: float | None = None
    max_step: float | None = None
    dtype: Precision = "float64"

    def __post_init__(self) -> None:
        _check_common(self)
        _check_adaptive(self)

    def program(self) -> RushLarsen:
        """The settings that need another program; to this package's own loop the others are numbers."""
        return RushLarsen(step=None if self.step is None else 1.0, dtype=self.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Diffrax:
    """A solver of diffrax; runs on the `xla` backend only.

    Attributes:
        solver: an instance of a diffrax solver, such as ``diffrax.Kvaerno5()``; by default ``diffrax.Tsit5()``.
        rtol: relative tolerance of one step.
        atol: absolute tolerance of one step, in each state's unit.
        max_steps: steps between two events after which a twin ends as ``max_steps``.
        controller: settings handed on to ``diffrax.PIDController``, such as ``{"pcoeff": 0.4, "icoeff": 1.0}``.
        dtype: what everything, time included, is computed in.

    Raises:
        ValueError: as `Tsit5`.
    """

    solver: Any = None
    rtol: float = 1e-6
    atol: float = 1e-9
    max_steps: int = 100_000
    controller: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dtype: Precision = "float64"

    def __post_init__(self) -> None:
        _check_common(self)

    @property
    def _key(self) -> Any:
        leaves, structure = jax.tree.flatten(self.solver)
        settings = (self.rtol, self.atol, self.max_steps, self.dtype, repr(sorted(self.controller.items())))
        return structure, tuple(map(repr, leaves)), settings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Diffrax) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@dataclasses.dataclass(frozen=True)
class Auto:
    """`Tsit5` or `Rodas5P`, whichever costs less on this model: a few of the twins are solved with both first.

    The trajectory's settings name the method that ran, and why. Inside a transformation of JAX the pilot takes the model's own
    parameters, and times and schedule must be known.

    Attributes:
        rtol: as in `Tsit5`, and so are the others.
        atol: absolute tolerance of one step.
        max_steps: steps after which a twin ends as ``max_steps``.
        first_step: if given, the first step is no larger.
        max_step: if given, no step is larger.
        dtype: what the states are computed in.

    Raises:
        ValueError: a setting is out of range or no number; `max_steps` must be whole, and of a whole type (not 100.0).
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    max_steps: int = 100_000
    first_step: float | None = None
    max_step: float | None = None
    dtype: Precision = "float64"

    def __post_init__(self) -> None:
        _check_common(self)
        _check_steps(self, ("first_step", "max_step"))

    @property
    def explicit(self) -> Tsit5:
        """The settings as those of the explicit method."""
        return Tsit5(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @property
    def stiff(self) -> Rodas5P:
        """The settings as those of the stiff method."""
        return Rodas5P(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


Own = Tsit5 | RK4 | Rodas5P | RushLarsen
"""Methods of this package's own."""
Method = Own | Auto | Diffrax


def _check_adaptive(method: Tsit5 | RushLarsen) -> None:
    _check_steps(method, ("step", "first_step", "max_step"))
    for name in ("first_step", "max_step"):
        value = getattr(method, name)
        if value is not None and method.step is not None:
            raise ValueError(f"`{name}` belongs to adaptive steps, but got a fixed `step` as well.")


def _is_number(value: object) -> bool:
    """Whether it is one of Python's or NumPy's numbers, no array."""
    return isinstance(value, Real)


def _check_steps(method: Own | Auto, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(method, name)
        if value is not None and not (_is_number(value) and 0.0 < value < math.inf):
            raise ValueError(f"`{name}` must be a positive number, but got {value!r:.100}.")


def _check_common(method: Method) -> None:
    for name in ("rtol", "atol"):
        value = getattr(method, name)
        if not (_is_number(value) and 0.0 <= value < math.inf):
            raise ValueError(f"`{name}` must be zero or a positive number, but got {value!r:.100}.")
    if method.rtol == 0.0 and method.atol == 0.0:
        raise ValueError("`rtol` and `atol` cannot both be zero.")
    _check_budget(method)


def _check_budget(method: Method) -> None:
    if not isinstance(method.max_steps, Integral):
        raise ValueError(f"`max_steps` must be a whole number, but got {method.max_steps!r:.100}.")
    if method.max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1, but got {method.max_steps}.")
    if method.dtype not in ("float64", "float32"):
        raise ValueError(f'`dtype` must be "float64" or "float32", but got {method.dtype!r}.')
