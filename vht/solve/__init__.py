"""Solve a model for a cohort: steps, schedules, sensitivities and a status per twin.

Where what is, in the order in which a call of `simulate` comes by:

- what a user gives: `simulate` (the one entry), `request` (as names and numbers, checked), `schedule`, `methods`, `auto` (which
  method), `device` (where it runs), `room` (whether results have room in memory);
- a cohort: `given` (its numbers), `slices` (some twins at a time), `regroup` (who runs beside whom), `padding` (tables of a few
  lengths), `meshes` (arrays spread over devices);
- from there to a kernel: `system` (the model's functions), `plan` (which directions go together; derivatives), `columns` (a
  kernel's arguments), `twin` (those of one twin);
- one twin: `loop` (steps, error test, saves), `progress` (how far it has come), `moments` (what happens at one time), `clock`,
  `controller` and `rough` (how long steps are);
- how states move over a step: `propagate` (what the loop asks of a method); `explicit` with `steppers`; `exponential` with
  `gates`; `stiff` with `rosenbrock`; `sums` (weighted, of stages);
- linear algebra: `sparse` (Jacobians) and `elimination` in kernels, `blocks` on whole cohorts; `largest` (maxima with NaN);
- where it is not smooth: `switches` (finds kinks and jumps of the rates), `breaks` (what jumps do to sensitivities),
  `discontinuities` (to steps), `crossings` (events of the state), `consistent` (algebraic variables);
- derivatives: `sensitivity` (directions side by side), `directions` (one after another);
- what comes out: `trajectory`, `status`;
- steady and periodic states: `steady`, `periodic` with `shooting`, `fixed_point` (what both share);
- the other backend, diffrax: `xla`.
"""

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
