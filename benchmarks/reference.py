"""What is taken for the truth: solutions at a tolerance of 1e-12 by something this package has no part in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from benchmarks.cohort import Cohort, relative_errors
from benchmarks.peers import cvode, scipy_solvers
from benchmarks.peers.build import Unavailable

TOLERANCE = 1e-12
# SciPy takes seconds for a twin: so many are enough to check a reference by, and few to have one
_CHECKED, _WITHOUT_COMPILER = 2, 4


@dataclass(frozen=True, eq=False)
class Reference:
    """Solutions of the first twins of a cohort.

    Attributes:
        values: all states.
        made_by: in words.
        disagreement: the largest relative error that a second reference finds in this one.
    """

    values: Float[np.ndarray, "twins saves states"]
    made_by: str
    disagreement: float | None


def reference(cohort: Cohort, twins: int) -> Reference:
    """Solve the first twins by CVODES, checked on some by SciPy's DOP853; by that alone where there is no compiler.

    Raises:
        RuntimeError: if it cannot be solved.
    """
    try:
        some = cohort.take(slice(twins))
        solved = cvode.solve(some, rtol=TOLERANCE, atol=TOLERANCE)
        other = scipy_solvers.dop853(some.take(slice(_CHECKED)), rtol=TOLERANCE, atol=TOLERANCE)
        made_by = f"CVODES (BDF) at {TOLERANCE:g}"
        disagreement = float(np.max(relative_errors(solved.values[:_CHECKED], other.values)))
    except Unavailable:
        some = cohort.take(slice(min(twins, _WITHOUT_COMPILER)))
        solved = scipy_solvers.dop853(some, rtol=TOLERANCE, atol=TOLERANCE)
        made_by, disagreement = f"SciPy's DOP853 at {TOLERANCE:g}", None
    if not solved.ok.all():
        raise RuntimeError(f"There is no reference for {int((~solved.ok).sum())} of {len(some)} twins.")
    return Reference(solved.values, made_by, disagreement)
