"""Stiff problems on this package, CVODE in C and diffrax: work and precision, ensembles, and the time to compile."""

from __future__ import annotations

from benchmarks.cases import Stiff
from benchmarks.outcome import Outcome, Say
from benchmarks.peers import stiff_cvode
from benchmarks.peers.build import Unavailable
from benchmarks.stiff_compile import compile_times
from benchmarks.stiff_ensembles import ensembles
from benchmarks.stiff_precision import work_precision


def run(case: Stiff, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    outcome = Outcome(
        f"Stiff problems: rtol {max(case.tolerances):g} to {min(case.tolerances):g}, ensembles of {case.twins:,} with "
        f"parameters spread by {case.spread:.0%}, time to compile"
    )
    try:
        outcome.notes.append(f"CVODE (BDF, dense, one core): {stiff_cvode.made_with()}.")
        work_precision(case, outcome, say)
        ensembles(case, outcome, say)
    except Unavailable as error:
        # there is no truth for twins whose parameters differ without CVODE
        outcome.skipped["work and precision, ensembles"] = str(error)
    compile_times(case, outcome, say)
    return outcome
