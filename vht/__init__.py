"""vht: patient twins. Organs as differential equations, fitted to one person's measurements, a whole cohort at a time."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vht.calibrate import Calibration, LevenbergMarquardt, Problem
    from vht.cohort import load_study
    from vht.model import Body, Organ, Twins, converted
    from vht.solve import (
        RK4,
        Auto,
        Doses,
        FixedPoint,
        Rodas5P,
        RushLarsen,
        Schedule,
        Signal,
        Status,
        Trajectory,
        Tsit5,
        periodic_state,
        simulate,
        steady_state,
    )

__version__ = "0.1.0"

# Loaded when first used, so that `import vht` (and `vht --help`) costs nothing.
_HOME = {
    "Auto": "vht.solve",
    "Body": "vht.model",
    "Calibration": "vht.calibrate",
    "Doses": "vht.solve",
    "FixedPoint": "vht.solve",
    "LevenbergMarquardt": "vht.calibrate",
    "Organ": "vht.model",
    "Problem": "vht.calibrate",
    "RK4": "vht.solve",
    "Rodas5P": "vht.solve",
    "RushLarsen": "vht.solve",
    "Schedule": "vht.solve",
    "Signal": "vht.solve",
    "Status": "vht.solve",
    "Trajectory": "vht.solve",
    "Tsit5": "vht.solve",
    "Twins": "vht.model",
    "converted": "vht.model",
    "load_study": "vht.cohort",
    "periodic_state": "vht.solve",
    "simulate": "vht.solve",
    "steady_state": "vht.solve",
}

__all__ = [
    "RK4",
    "Auto",
    "Body",
    "Calibration",
    "Doses",
    "FixedPoint",
    "LevenbergMarquardt",
    "Organ",
    "Problem",
    "Rodas5P",
    "RushLarsen",
    "Schedule",
    "Signal",
    "Status",
    "Trajectory",
    "Tsit5",
    "Twins",
    "__version__",
    "converted",
    "load_study",
    "periodic_state",
    "simulate",
    "steady_state",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
