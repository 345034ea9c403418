"""The cohort that everyone solves: circulation twins as plain numbers, so that peers need nothing of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

# The order in which compiled peers take the numbers; the same as in peers/names.h.
PARAMETERS = (
    *("T_HB", "tC_A", "TC_A", "TR_A", "tC_V", "TC_V", "TR_V"),
    *("EA_LA", "EB_LA", "V0_LA", "EA_LV", "EB_LV", "V0_LV", "EA_RA", "EB_RA", "V0_RA", "EA_RV", "EB_RV", "V0_RV"),
    *("Rmin", "Rmax"),
    *("R_AR_SYS", "C_AR_SYS", "L_AR_SYS", "R_VEN_SYS", "C_VEN_SYS", "L_VEN_SYS"),
    *("R_AR_PUL", "C_AR_PUL", "L_AR_PUL", "R_VEN_PUL", "C_VEN_PUL", "L_VEN_PUL"),
)
STATES = (
    *("V_LA", "V_LV", "V_RA", "V_RV"),
    *("p_AR_SYS", "p_VEN_SYS", "p_AR_PUL", "p_VEN_PUL"),
    *("Q_AR_SYS", "Q_VEN_SYS", "Q_AR_PUL", "Q_VEN_PUL"),
)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Circulation twins and when to look at them.

    Attributes:
        parameters: in the order of `PARAMETERS`, in the model's units.
        initial: in the order of `STATES`.
        times: of the saves, s; the first is that of the initial state.
        varied: the parameters in which twins differ.
    """

    parameters: Float[np.ndarray, "twins parameters"]
    initial: Float[np.ndarray, "twins states"]
    times: Float[np.ndarray, " saves"]
    varied: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.parameters)

    def take(self, which: slice | Int[np.ndarray, " some"] | Sequence[int]) -> Cohort:
        """Some of the twins."""
        return replace(self, parameters=self.parameters[which], initial=self.initial[which])

    def column(self, name: str) -> Float[np.ndarray, " twins"]:
        """A parameter's values."""
        return self.parameters[:, PARAMETERS.index(name)]

    def with_columns(self, columns: dict[str, Float[np.ndarray, " twins"]]) -> Cohort:
        """The same twins with other values of some parameters."""
        parameters = self.parameters.copy()
        for name, values in columns.items():
            parameters[:, PARAMETERS.index(name)] = values
        varied = (*self.varied, *(name for name in columns if name not in self.varied))
        return replace(self, parameters=parameters, varied=varied)


def indices(names: Sequence[str]) -> list[int]:
    """Where parameters stand in `PARAMETERS`."""
    return [PARAMETERS.index(name) for name in names]


def circulation_cohort(
    twins: int, times: Float[np.ndarray, " saves"], *, seed: int, only: Sequence[str] | None = None
) -> Cohort:
    """A virtual cohort drawn from the model's priors (elastances, resistances, compliances by 20 %, periods by 15 %).

    Args:
        twins: how many.
        times: of the saves, s.
        seed: equal seeds give equal cohorts.
        only: vary these parameters alone.
    """
    from vht.model import Twins, initial_state
    from vht.organs.circulation import Circulation

    model = Circulation()
    drawn = Twins.sample(model, twins, seed=seed, only=only).columns
    parameters = np.stack([drawn.get(name, np.full(twins, float(getattr(model, name)))) for name in PARAMETERS], axis=1)
    begin = initial_state(model)
    initial = np.tile([float(getattr(begin, name)) for name in STATES], (twins, 1))
    return Cohort(parameters, initial, np.asarray(times, np.float64), tuple(drawn))


def relative_errors(
    values: Float[np.ndarray, "twins saves states"], reference: Float[np.ndarray, "twins saves states"]
) -> Float[np.ndarray, " twins"]:
    """Each twin's largest error at any save of any state, as a share of that state's range over the saves."""
    ranges = np.ptp(reference, axis=1, keepdims=True)
    return np.max(np.abs(values.astype(np.float64) - reference) / ranges, axis=(1, 2))
