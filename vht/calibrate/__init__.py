"""Calibration: every twin fitted to its own measurements, with what the measurements say about the estimates."""

from vht.calibrate.bands import Band, band
from vht.calibrate.estimators import LevenbergMarquardt, calibrate
from vht.calibrate.intervals import likelihood_roots, profile_intervals
from vht.calibrate.noise import Additive, Combined, Proportional
from vht.calibrate.problem import Free, Measurements, Observable, Problem
from vht.calibrate.result import Calibration, Starts
from vht.calibrate.status import CalibrationStatus

__all__ = [
    "Additive",
    "Band",
    "Calibration",
    "CalibrationStatus",
    "Combined",
    "Free",
    "LevenbergMarquardt",
    "Measurements",
    "Observable",
    "Problem",
    "Proportional",
    "Starts",
    "band",
    "calibrate",
    "likelihood_roots",
    "profile_intervals",
]
