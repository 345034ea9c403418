"""Solve a model for a cohort: steps, schedules, sensitivities and a status per twin."""

from vht.solve.device import Device
from vht.solve.fixed_point import FixedPoint, FixedPointSettings, FixedPointStatus
from vht.solve.methods import RK4, Auto, Diffrax, Method, Rodas5P, RushLarsen, Tsit5
from vht.solve.periodic import periodic_state
from vht.solve.schedule import Doses, Schedule, Signal
from vht.solve.simulate import Backend, choose_method, simulate, simulate_with_jacobian
from vht.solve.status import Status
from vht.solve.steady import steady_state
from vht.solve.trajectory import Failure, Label, Settings, Trajectory

__all__ = [
    "RK4",
    "Auto",
    "Backend",
    "Device",
    "Diffrax",
    "Doses",
    "Failure",
    "FixedPoint",
    "FixedPointSettings",
    "FixedPointStatus",
    "Label",
    "Method",
    "Rodas5P",
    "RushLarsen",
    "Schedule",
    "Settings",
    "Signal",
    "Status",
    "Trajectory",
    "Tsit5",
    "choose_method",
    "periodic_state",
    "simulate",
    "simulate_with_jacobian",
    "steady_state",
]
