"""Solve a model for a cohort: steps, schedules, sensitivities and a status per twin."""

from vht.solve.methods import Diffrax, Method, Tsit5
from vht.solve.schedule import Doses, Schedule, Signal
from vht.solve.simulate import simulate, simulate_with_jacobian
from vht.solve.status import Status
from vht.solve.trajectory import Failure, Label, Settings, Trajectory

__all__ = [
    "Diffrax",
    "Doses",
    "Failure",
    "Label",
    "Method",
    "Schedule",
    "Settings",
    "Signal",
    "Status",
    "Trajectory",
    "Tsit5",
    "simulate",
    "simulate_with_jacobian",
]
