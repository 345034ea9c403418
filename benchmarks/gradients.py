"""Gradients through doses, lags, infusions, meals, thresholds, periodic and steady states, against differences and CVODES."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from benchmarks import gradients_circulation, gradients_cohorts
from benchmarks.cases import Gradients
from benchmarks.gradients_questions import TOLERANCE, Question, Truth, differences, size_of
from benchmarks.measure import measure
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers import gradients_cvodes
from benchmarks.peers.build import Unavailable

COLUMNS = (
    Column("derivative with respect to", "quantity"),
    Column("method", "method"),
    Column("rtol", "rtol", ".0e"),
    Column("median error / rtol", "median", ".2g"),
    Column("99 % error / rtol", "most", ".2g"),
    Column("largest error / rtol", "largest", ".2g"),
    Column("ok", "ok", ",d"),
    Column("seconds, all of its cohort", "seconds", ".2f"),
)
REFERENCES = (
    Column("derivative with respect to", "quantity"),
    Column("cohort", "cohort"),
    Column("reference", "reference"),
    Column("differences: twins", "compared", ",d"),
    Column("their own error, estimated", "estimate", ".1e"),
    Column("apart from CVODES at most", "apart", ".1e"),
)
REVERSE = (
    Column("cohort", "cohort"),
    Column("method", "method"),
    Column("rtol", "rtol", ".0e"),
    Column("reverse from forward, largest", "apart", ".1e"),
)

Jacobian = Float[np.ndarray, "twins saves observed free"]


def run(case: Gradients, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    outcome = Outcome(
        f"Gradients, {case.twins} random twins, rtol {max(case.rtols):g} to {min(case.rtols):g}: {', '.join(case.cohorts)}"
    )
    makers: dict[str, Callable[[], Question]] = {
        "oral drug": functools.partial(gradients_cohorts.oral, case.twins, case.seed),
        "meals": functools.partial(gradients_cohorts.meal, case.twins, case.seed),
        "insulin pump": functools.partial(gradients_cohorts.pump, case.twins, case.seed),
        "HIRES at rest": functools.partial(gradients_cohorts.steady, case.twins, case.seed),
        "circulation": functools.partial(gradients_circulation.periodic, case.twins, case.seed, case.differences),
    }
    references: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    reverse: list[dict[str, Any]] = []
    try:
        made_with = gradients_cvodes.made_with()
        for name in case.cohorts:
            question = makers[name]()
            _ask(name, question, case, say, references, rows, reverse)
    except Unavailable as error:
        outcome.skipped["references by CVODES"] = str(error)
        return outcome
    outcome.tables += [
        Table("references", REFERENCES, references),
        Table("errors", COLUMNS, rows),
        Table("jax.grad beside jax.jacfwd", REVERSE, reverse),
    ]
    for quantity in dict.fromkeys(row["quantity"] for row in rows):
        found = [row["largest"] for row in rows if row["quantity"] == quantity]
        outcome.targets.append(Target(f"largest error over rtol: {quantity}", 10.0, max(found)))
    least = min(case.rtols)
    outcome.targets += [
        Target("references apart, over the smallest rtol", 10.0, max(_doubt(row) for row in references) / least),
        Target("jax.grad from jax.jacfwd, over rtol", 10.0, max(row["apart"] / row["rtol"] for row in reverse)),
    ]
    outcome.notes += [
        "Errors: largest over the saves, as a share of the largest reference value over the saves (for a periodic state: over "
        "the beat; and of at least a thousandth of what moves the state by its own size), for each twin, state and quantity.",
        f"Differences: central ones of solutions by CVODE at {TOLERANCE:g} (beats at 1e-13), three steps extrapolated to zero "
        "(Richardson); their own error is estimated by how far apart the extrapolations of two of the steps each lie. Doses "
        "are stops of the solver, thresholds are found by its own root finding.",
        "CVODES' forward sensitivities have no events whose time moves. Between doses and saves time is counted in the length "
        "of each stretch, so that times of doses are ordinary parameters of the rates, and no formula for jumps is used. "
        "Thresholds have differences alone. A periodic state's derivatives follow from CVODES' sensitivities of one beat to "
        "states and parameters by the implicit function theorem, a steady state's from a simulation until nothing changes. A "
        "steady state is found without integration if Newton's method arrives, so that methods do not differ there.",
        "Twins of the pump that would be switched more or less often if a quantity were 1 % other have no part, since where "
        "a threshold is only touched there is no derivative; nor have saves within 2 minutes of a switch, where the rate of "
        "insulin's sensitivity jumps.",
        f"CVODES: {made_with}.",
    ]
    return outcome


def _doubt(row: Mapping[str, Any]) -> float:
    """Of a reference."""
    return row["estimate"] if row["apart"] is None else row["apart"]


def _ask(
    name: str,
    question: Question,
    case: Gradients,
    say: Say,
    references: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    reverse: list[dict[str, Any]],
) -> None:
    from vht import solve

    say(f"{name}: references ...")
    truth, seen = _truth(name, question, references)
    for kind in case.methods:
        for rtol in case.rtols:
            say(f"{name}: {kind} at {rtol:g} ...")
            method = getattr(solve, kind)(rtol=rtol, atol=rtol * question.floor)
            # called once more than it is measured, to compile
            found = measure(functools.partial(_forward, question, method), 1)
            jacobian, status = found.result
            ok = status == 0
            errors = _errors(jacobian, truth, seen)[ok] / rtol
            for k, term in enumerate(question.terms.values()):
                one = errors[..., k]
                rows.append(
                    {
                        "quantity": term,
                        "method": kind,
                        "rtol": rtol,
                        "median": float(np.median(one)),
                        "most": float(np.quantile(one, 0.99)),
                        "largest": float(np.max(one)) if ok.all() else float("inf"),
                        "ok": int(ok.sum()),
                        "seconds": found.median,
                    }
                )
            if rtol == case.rtols[-1]:
                say(f"{name}: {kind} in reverse ...")
                apart = _reverse(question, method, jacobian, case.seed)
                reverse.append({"cohort": name, "method": kind, "rtol": rtol, "apart": apart})


def _truth(
    name: str, question: Question, references: list[dict[str, Any]]
) -> tuple[Truth, Bool[np.ndarray, "twins saves"]]:
    """The reference and the saves that count; how it was checked goes into the table."""
    jacobian, change = differences(question)
    seen = np.ones(jacobian.shape[:2], bool) if question.seen is None else question.seen()
    if question.forward is None:
        truth = Truth(
            jacobian, size_of(np.where(seen[..., None, None], jacobian, 0.0), question.point(question.at), question.at)
        )
        apart = None
    else:
        truth = question.forward()
        n = len(jacobian)
        apart = _errors(jacobian, Truth(truth.jacobian[:n], truth.size[:n]), seen)
        seen = np.ones(truth.jacobian.shape[:2], bool)
    size = truth.size[: len(change), None]
    estimate = np.max(np.where(seen[: len(change), :, None, None], change, 0.0) / size, axis=(0, 1, 2))
    for k, term in enumerate(question.terms.values()):
        references.append(
            {
                "quantity": term,
                "cohort": name,
                "reference": "differences" if apart is None else "CVODES",
                "compared": len(change),
                "estimate": float(estimate[k]),
                "apart": None if apart is None else float(np.max(apart[..., k])),
            }
        )
    return truth, seen


def _errors(
    jacobian: Jacobian, truth: Truth, seen: Bool[np.ndarray, "twins saves"]
) -> Float[np.ndarray, "twins observed free"]:
    return np.max(np.where(seen[..., None, None], np.abs(jacobian - truth.jacobian), 0.0), axis=1) / truth.size


def _forward(question: Question, method: Any) -> tuple[Jacobian, np.ndarray]:
    """The Jacobian by each twin's own quantities, and statuses."""
    import jax
    import jax.numpy as jnp

    def moved(shift: Any) -> tuple[Any, Any]:
        q = {name: jnp.asarray(column) + shift[k] for k, (name, column) in enumerate(question.at.items())}
        return question.answer(q, method)

    jacobian, status = jax.jacfwd(moved, has_aux=True)(jnp.zeros(len(question.at)))
    return np.asarray(jacobian), np.asarray(status)


def _reverse(question: Question, method: Any, jacobian: Jacobian, seed: int) -> float:
    """How far the gradient of a weighted sum is from what the Jacobian says, as a share of all that the sum adds up."""
    import jax
    import jax.numpy as jnp

    columns = {name: jnp.asarray(column) for name, column in question.at.items()}
    values, _ = question.answer(columns, method)
    sizes = np.maximum(np.max(np.abs(np.asarray(values)), axis=(0, 1)), 1e-30)
    weights = np.random.default_rng(seed).standard_normal(values.shape) / sizes
    found = jax.grad(lambda q: jnp.sum(weights * question.answer(q, method)[0]))(columns)
    terms = weights[..., None] * jacobian
    gradient = np.stack([np.asarray(found[name]) for name in question.at], axis=1)
    apart = np.abs(gradient - np.sum(terms, axis=(1, 2))) / np.sum(np.abs(terms), axis=(1, 2))
    return float(np.max(apart))
