"""How each body is brought to rest, and what each model of the library does for a measurement of speed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from vht.model import Organ, events, inputs, states

DAY = 1440.0
"""Minutes."""


@dataclasses.dataclass(frozen=True)
class Rest:
    """A body left alone until it rests.

    Attributes:
        span: simulated, in the body's unit of time.
        window: at its end, over which outputs are averaged, since some swing.
        every: time between two values that are averaged.
        rtol: of the stiff method.
        atol: of the same.
    """

    span: float
    window: float
    every: float
    rtol: float = 1e-5
    atol: float = 1e-8


@dataclasses.dataclass(frozen=True)
class Drive:
    """An input that has another value from the beginning on, and maybe only for a while.

    Attributes:
        port: its name.
        value: in the port's unit.
        until: when it ends.
        then: the input afterwards; by default what it is where nothing drives it.
    """

    port: str
    value: float
    until: float = math.inf
    then: float | None = None

    def steps(self, model: Organ) -> tuple[tuple[float, float], ...]:
        """Times, and the input from each on."""
        if self.until == math.inf:
            return ((0.0, self.value),)
        after = inputs(model)[self.port].default if self.then is None else self.then
        return (0.0, self.value), (self.until, after or 0.0)


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a model does for a measurement of speed.

    Attributes:
        span: simulated, in the model's unit of time.
        drives: what enters; nothing else does.
        stiff: whether it is for the stiff method; None lets `vht.solve.Auto` find out.
        parameters: other than the model's own.
        few: whether diffrax takes so long that it gets few twins.
        peer_stiff: whether diffrax takes Kvaerno5; by default where lanes takes its stiff method. Both were tried there:
            with the one said here it is faster.
    """

    span: float
    drives: tuple[Drive, ...] = ()
    stiff: bool | None = None
    parameters: Mapping[str, float] = dataclasses.field(default_factory=dict)
    few: bool = False
    peer_stiff: bool | None = None

    def schedule(self, model: Organ) -> Any:
        """The drives as a schedule, or None."""
        from vht.solve import Schedule, Signal

        if not self.drives:
            return None
        steps = {drive.port: list(zip(*drive.steps(model), strict=True)) for drive in self.drives}
        return Schedule(signals={port: Signal(*columns, interpolation="hold") for port, columns in steps.items()})


# By name in the library: a new body is one line here.
REST: Mapping[str, Rest] = {
    # stores of carbon dioxide fill over minutes: after ten, ventilation is within 2 % of its last value in half of the twins
    "cardio_respiratory": Rest(600.0, 60.0, 0.1, rtol=1e-3, atol=1e-4),
    # hormones and slow vessels settle over weeks, and some twins swing with a period of a day or two
    "cardio_renal": Rest(56 * DAY, 7 * DAY, 60.0),
    "blood_pressure": Rest(56 * DAY, 7 * DAY, 60.0),
    "metabolic": Rest(2 * DAY, 0.25 * DAY, 10.0),
    # a cell that is not stimulated; ions settle over minutes
    "cardiac_safety": Rest(300e3, 10e3, 100.0),
}

_ORAL = Drive("oral", 1000.0, until=0.1)
_MEAL = (Drive("meal", 4.0, until=15.0), Drive("insulin", 0.3, until=15.0))
# By name in the library; what has no line is left alone for a while.
TRIALS: Mapping[str, Trial] = {
    "baroreflex": Trial(30.0, (Drive("p", 75.0, until=10.0),)),
    "blood_pressure": Trial(7 * DAY, (Drive("kidney.ace_inhibition", 0.5),), stiff=True),
    "bone": Trial(60.0, (Drive("I_P", 1000.0, until=20.0),)),
    "brain": Trial(60.0, (Drive("P_a", 75.0, until=30.0),)),
    "cardio_renal": Trial(7 * DAY, (Drive("control.bleeding", 50.0, until=10.0),), stiff=True),
    "cardio_respiratory": Trial(10.0, stiff=True, few=True, peer_stiff=False),
    "cardiopulmonary_reflex": Trial(30.0, (Drive("CVP", 2.0),)),
    "cardiac_safety": Trial(400.0, (Drive("cell.stimulus", -80.0, until=0.5),), stiff=True, few=True, peer_stiff=False),
    "circulation": Trial(10.0),
    "circulatory_control": Trial(DAY, (Drive("bleeding", 50.0, until=10.0),)),
    "closed_loop_heart": Trial(10.0),
    "drug_1": Trial(24.0, (_ORAL,)),
    "drug_2": Trial(24.0, (_ORAL,)),
    "drug_3": Trial(24.0, (_ORAL,)),
    "effect_compartment": Trial(24.0, (Drive("concentration", 1.0, until=6.0),)),
    "exercise": Trial(60.0, (Drive("work", 3.0, until=30.0),)),
    "gas_exchange": Trial(60.0, (Drive("metabolism", 2.0, until=30.0),)),
    "hovorka": Trial(360.0, _MEAL),
    "indirect_response": Trial(48.0, (Drive("concentration", 1.0, until=12.0),), parameters={"I_in": 0.9}),
    # hours: alone, at a pressure that does not follow, it would lose all sodium within days
    "kidney": Trial(360.0, (Drive("ace_inhibition", 0.5),), stiff=True),
    "long_term_pressure": Trial(7 * DAY, (Drive("blood_volume", 4.6, until=DAY),), stiff=True),
    "lungs": Trial(60.0),
    "mean_circulation": Trial(60.0, (Drive("resistance_factor", 1.2),)),
    "metabolic": Trial(
        720.0,
        (
            Drive("glucose.meal", 4.0, until=15.0),
            Drive("glucose.insulin", 0.3, until=15.0),
            Drive("drug.oral", 500.0, until=1.0),
        ),
    ),
    "minimal_glucose": Trial(180.0, (Drive("insulin", 50.0, until=30.0, then=11.0),)),
    "noble": Trial(500.0, peer_stiff=False),
    "ohara_rudy": Trial(400.0, (Drive("stimulus", -80.0, until=0.5),), stiff=True, few=True, peer_stiff=False),
    "oral_drug": Trial(24.0, (Drive("dose", 1000.0, until=0.1),)),
    "pbpk": Trial(24.0, (_ORAL,)),
    "pulsatile_circulation": Trial(10.0),
    "ten_tusscher": Trial(400.0, (Drive("stimulus", -52.0, until=1.0),), stiff=True, few=True),
    "tumour": Trial(30.0, (Drive("concentration", 1.0, until=10.0),)),
    "uva_padova": Trial(360.0, _MEAL),
    "ventilation_control": Trial(120.0, (Drive("PaCO2", 45.0, until=60.0),)),
}
_SPANS = {"ms": 400.0, "s": 10.0, "min": 360.0, "h": 24.0, "d": 30.0}


def trial(name: str, model: Organ) -> Trial:
    """What a model does."""
    return TRIALS.get(name) or Trial(_SPANS.get(model.time, 1.0))


def beyond_diffrax(model: Organ) -> str:
    """What diffrax does not know of a model; empty if it knows all."""
    if any(variable.algebraic for variable in states(model).values()):
        return "algebraic variables"
    return "events of the state" if events(model) else ""
