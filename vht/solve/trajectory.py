"""What a solve gives: values over time for every twin, and how each twin ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vht.model import Variable
from vht.solve.methods import Method
from vht.solve.status import NOT_SAVED, Status, flag_attributes

Numbers = Array | np.ndarray
"""Inside a transformation of JAX they are its arrays, outside NumPy's."""

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True)
class Label:
    """What a saved quantity is: name, unit, meaning, kind ("state" or "output") and literature source, if it has one."""

    name: str
    unit: str
    meaning: str
    kind: str
    source: str | None = None

    @classmethod
    def of(cls, variable: Variable) -> Label:
        """From what a model says of it."""
        return cls(variable.name, variable.unit, variable.meaning, variable.kind, variable.source)

    @property
    def attributes(self) -> dict[str, str]:
        """Of a variable in a dataset."""
        found = {"units": self.unit, "long_name": self.meaning, "kind": self.kind}
        return found | {"source": self.source} if self.source else found


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a trajectory was made.

    Attributes:
        model: name of the model's class.
        time_unit: unit of every time.
        method: the method with its settings.
        backend: that ran, "lanes" or "xla".
        states: names of the model's states.
        observed: names of what is saved, in the order in which culprits are numbered.
        note: why this method ran, if `Auto` chose it.
        device: platform that it ran on, such as "cpu" or "gpu"; inside a transformation the one to be expected.
    """

    model: str
    time_unit: str
    method: Method
    backend: str
    states: tuple[str, ...] = ()
    note: str = ""
    device: str = "cpu"
    observed: tuple[str, ...] = ()


class Failure(NamedTuple):
    """A twin that did not end as `ok`, of a solve, a search or a calibration.

    Attributes:
        index: its number, from 0.
        name: its name.
        status: the status' label.
        message: what happened and what to do.
    """

    index: int
    name: str
    status: str
    message: str


class Trajectory(eqx.Module):
    """Values at the saved times, twin by twin.

    Attributes:
        times: of the saves, ``[saves]`` for all twins alike or ``[twins, saves]``.
        values: by name of the state or output; NaN from the time of a twin's failure on.
        status: `Status` code of each twin.
        steps: tried, per twin.
        rejected: steps that the error test refused, per twin.
        culprit: what a failure is about, per twin: number of the state, an algebraic variable, for which no value was found,
            or the number of states and that of the observed quantity that was not finite; -1 where there is none.
        events: by name of the event of the state, how often it happened, per twin; one at the very last time is not counted.
        settings: how it was made.
        labels: of the values.
        names: of the twins; None where they have none.
    """

    times: Float[Numbers, "*_ saves"]
    values: dict[str, Float[Numbers, "twins saves"]]
    status: Int[Numbers, " twins"]
    steps: Int[Numbers, " twins"]
    rejected: Int[Numbers, " twins"]
    culprit: Int[Numbers, " twins"]
    events: dict[str, Int[Numbers, " twins"]]
    settings: Settings = eqx.field(static=True)
    labels: tuple[Label, ...] = eqx.field(static=True, default=())
    names: tuple[str, ...] | None = eqx.field(static=True, default=None)

    @property
    def ok(self) -> Bool[Numbers, " twins"]:
        """Which twins reached their last time."""
        return self.status == np.int32(Status.OK)

    def name(self, twin: int) -> str:
        """The name of a twin, its number where it has none."""
        return str(twin) if self.names is None else self.names[twin]

    def message(self, twin: int) -> str:
        """How a twin's solve ended, and what to try."""
        status, culprit = Status(int(self.status[twin])), int(self.culprit[twin])
        if culprit < 0:
            return status.message
        message = status.message if culprit < len(self.settings.states) else NOT_SAVED
        return f"`{(*self.settings.states, *self.settings.observed)[culprit]}`: {message}"

    def failures(self) -> list[Failure]:
        """The twins that did not reach their last time, in order."""
        status = np.asarray(self.status)
        return [
            Failure(int(i), self.name(int(i)), Status(int(status[i])).label, self.message(int(i)))
            for i in np.flatnonzero(status != Status.OK)
        ]

    def to_xarray(self) -> xarray.Dataset:
        """The values as a labelled dataset: unit, meaning and source in each variable's attributes.

        Dimensions are ``twin`` and ``time``, or ``twin`` and ``save`` where every twin has its own times. Beside the values are
        `status`, `steps` and `rejected`. A value named like a dimension is ``time_`` there; where one is named `steps`, it is
        the solver's that are ``steps_``.
        """
        import xarray

        times = np.asarray(self.times)
        shared = times.ndim == 1
        over = "time" if shared else "save"
        time_attributes = {"units": self.settings.time_unit, "long_name": "time since the twin's origin"}
        twins = np.arange(len(np.asarray(self.status))) if self.names is None else np.asarray(self.names, dtype=str)
        coordinates: dict[str, Any] = {
            "twin": ("twin", twins),
            "time": (over if shared else ("twin", over), times, time_attributes),
        }
        labels = {label.name: label for label in self.labels}
        data: dict[str, Any] = {}
        for name, value in self.values.items():
            attributes = labels[name].attributes if name in labels else {}
            key = beside(name, self.values) if name in ("twin", "time", "save") else name
            data[key] = (("twin", over), np.asarray(value), attributes)
        solve = {
            "status": {"long_name": "how the solve ended", **flag_attributes(Status)},
            "steps": {"long_name": "steps tried"},
            "rejected": {"long_name": "steps refused by the error test"},
        }
        for name, described in solve.items():
            data[beside(name, data)] = ("twin", np.asarray(getattr(self, name)), described)
        attributes = {
            "model": self.settings.model,
            "method": repr(self.settings.method),
            "backend": self.settings.backend,
            "device": self.settings.device,
            **({"chosen": self.settings.note} if self.settings.note else {}),
        }
        return xarray.Dataset(data, coordinates, attributes)


def beside(name: str, taken: Collection[str]) -> str:
    """A name that is not taken: itself, or with ``_`` behind it."""
    while name in taken:
        name += "_"
    return name
