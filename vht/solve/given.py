"""What is solved for a cohort: names and settings, and the numbers of its twins."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from vht.solve.methods import Method, Rodas5P
from vht.solve.schedule import Schedule
from vht.solve.sensitivity import Gaps
from vht.solve.system import System


class Given(NamedTuple):
    """The numbers of a solve. A leaf has the axes said below, with a leading axis ``[twins]`` or without one (shared).

    Attributes:
        parameters: by name, scalars; all of the model's.
        initial: by state, scalars; those that replace the model's own.
        start: scalar.
        times: of saves, one axis.
        schedule: tables, one axis.
        step: fixed step or bound of the first one, scalar, never per twin; 0 for none.
        longest: bound of every step, scalar, never per twin.
        rtol, atol: scalars, never per twin.
        max_steps: scalar, never per twin.
    """

    parameters: dict[str, Array]
    initial: dict[str, Array]
    start: Array
    times: Array
    schedule: Schedule
    step: Array
    longest: Array
    rtol: Array
    atol: Array
    max_steps: Array

    def ranks(self) -> Given:
        """The number of axes that each leaf has when all twins share it."""
        return Given(
            parameters=jax.tree.map(lambda _: 0, self.parameters),
            initial=jax.tree.map(lambda _: 0, self.initial),
            start=0,  # type: ignore[arg-type]
            times=1,  # type: ignore[arg-type]
            schedule=jax.tree.map(lambda _: 1, self.schedule),
            step=0,  # type: ignore[arg-type]
            longest=0,  # type: ignore[arg-type]
            rtol=0,  # type: ignore[arg-type]
            atol=0,  # type: ignore[arg-type]
            max_steps=0,  # type: ignore[arg-type]
        )

    def rows(self, index: np.ndarray) -> Given:
        """The same for some of the twins."""
        return jax.tree.map(lambda leaf, rank: leaf[index] if np.ndim(leaf) > rank else leaf, self, self.ranks())


class Results(NamedTuple):
    """What a solve gives for a cohort.

    Attributes:
        values: by observed name.
        status: `Status` codes.
        steps: tried.
        rejected: of those.
        culprit: see `Trajectory`.
        events: by name, how often each event of the state happened.
    """

    values: dict[str, Float[Array, "twins saves"]]
    status: Int[Array, " twins"]
    steps: Int[Array, " twins"]
    rejected: Int[Array, " twins"]
    culprit: Int[Array, " twins"]
    events: dict[str, Int[Array, " twins"]]


class Used(NamedTuple):
    """What ran.

    Attributes:
        backend: "lanes" or "xla".
        device: platform, such as "cpu" or "gpu".
    """

    backend: str
    device: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to solve and how, apart from numbers.

    Attributes:
        system: the model's functions.
        observed: names of what is saved.
        lags: port and lag parameter, of the dosed ports that have one.
        twins: how many.
        method: the settings; only those that change the program matter here.
        backend: "lanes", "xla" or "vmap" (this package's own loop under `jax.vmap`, for comparison).
        ordered: ports whose signals are known to be in order of time, for every twin.
        gaps: what may be without a finite number at a save, which else ends the twin.
    """

    system: System
    observed: tuple[str, ...]
    lags: tuple[tuple[str, str], ...]
    twins: int
    method: Method
    backend: str
    ordered: tuple[str, ...] = ()
    gaps: Gaps = "none"

    @property
    def dtype(self) -> np.dtype:
        """What states are computed in."""
        return np.dtype(self.method.dtype)

    @property
    def one_by_one(self) -> bool:
        """Whether a kernel takes its directions one after another, rather than each with code of its own."""
        return isinstance(self.method, Rodas5P) and self.backend != "xla"
