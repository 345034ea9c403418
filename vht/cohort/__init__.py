"""Tables and study files in, results out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vht.cohort.load import load_study
    from vht.cohort.store import check_output, new_result, write_calibration, write_simulation
    from vht.cohort.study import InvalidStudy, Simulation, Study
    from vht.cohort.tables import CohortData, TableFiles, read_cohort

# pydantic and pyarrow wait until used
_HOME = {
    "CohortData": "tables",
    "InvalidStudy": "study",
    "Simulation": "study",
    "Study": "study",
    "TableFiles": "tables",
    "check_output": "store",
    "load_study": "load",
    "new_result": "store",
    "read_cohort": "tables",
    "write_calibration": "store",
    "write_simulation": "store",
}

__all__ = [
    "CohortData",
    "InvalidStudy",
    "Simulation",
    "Study",
    "TableFiles",
    "check_output",
    "load_study",
    "new_result",
    "read_cohort",
    "write_calibration",
    "write_simulation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"vht.cohort.{_HOME[name]}"), name)
