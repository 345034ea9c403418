"""The cohorts of the gradients benchmark that are simulated by programs of CVODES: a drug, meals, a pump, and HIRES at rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Inexact

from benchmarks.gradients_questions import Columns, Question, Simulated
from benchmarks.peers import gradients_cvodes as cvodes
from vht.model import Organ, Twins, parameters, states

# no dose comes nearer to a save, in spans between saves, so that none crosses one in a difference
_APART = 0.05
# saves nearer to a switch of the pump are not looked at, in the same spans
_UNSEEN = 0.2
# change of a quantity that must not change how often the pump is switched
_KEPT_AWAY = 0.01


def oral(twins: int, seed: int) -> Question:
    """Two doses swallowed and one given slowly, all after a lag."""
    from vht.organs.drugs import OralDrug1
    from vht.solve import Doses, Schedule, simulate

    model, saves, one = OralDrug1(), np.arange(1.0, 25.0), np.ones(twins)
    drawn = _drawn(model, twins, seed, ("ka", "CL", "V", "F"))
    lag, second, late, duration = _away_from(
        saves,
        ((0.1, 1.0), (6.0, 9.0), (12.0, 14.0), (1.0, 4.0)),
        lambda lag, second, late, duration: (0.5 + lag, second + lag, late + lag, late + lag + duration),
        np.random.default_rng([seed, cvodes.ORAL]),
        twins,
    )
    amount = np.random.default_rng([seed, cvodes.ORAL, 1]).uniform(200.0, 400.0, twins)

    def answer(q: Mapping[str, Any], method: Any) -> tuple[Any, Any]:
        table = Doses(
            _rows(0.5 * one, q["time"], late),
            _rows(q["amount"], 250.0 * one, 300.0 * one),
            _rows(0.0 * one, 0.0 * one, q["duration"]),
        )
        columns, schedule = {**drawn, "tlag": q["tlag"]}, Schedule(doses={"dose": table})
        found = simulate(model, saves, twins=columns, schedule=schedule, method=method, observe=("gut", "central"))
        return _stacked(found, ("gut", "central")), found.status

    def doses(q: Columns) -> list[tuple[Any, Any, Any]]:
        lag = q["tlag"]
        swallowed = [(0.5 + lag, q["amount"], None), (q["time"] + lag, 250.0 * one, None)]
        return [*swallowed, (late + lag, 300.0 * one, q["duration"])]

    peer = Simulated(
        model=cvodes.ORAL,
        drawn=drawn,
        initial=lambda q: np.zeros((twins, 2)),
        saves=saves,
        observed=(0, 1),
        doses=doses,
        share=lambda q: q["F"],
        floor=1e-2,
    )
    at = {"amount": amount, "time": second, "tlag": lag, "duration": duration}
    terms = {"amount": "dose amount", "time": "dose time", "tlag": "lag", "duration": "infusion duration"}
    return Question("oral drug", terms, at, answer, peer.floor, peer.point, lambda: peer.forward(at))


def meal(twins: int, seed: int) -> Question:
    """Two meals."""
    from benchmarks.gradients_models import MealGlucose
    from vht.solve import Doses, Schedule, simulate

    model, saves, one = MealGlucose(), np.linspace(0.0, 480.0, 33)[1:], np.ones(twins)
    drawn = _drawn(model, twins, seed, tuple(parameters(model)))
    first, second = _away_from(
        saves,
        ((20.0, 60.0), (200.0, 260.0)),
        lambda first, second: (first, second),
        np.random.default_rng([seed, cvodes.MEAL]),
        twins,
    )
    names = tuple(states(model))

    def answer(q: Mapping[str, Any], method: Any) -> tuple[Any, Any]:
        table = Doses(_rows(q["first"], q["second"]), _rows(60000.0 * one, 40000.0 * one))
        schedule = Schedule(doses={"meal": table})
        found = simulate(model, saves, twins=drawn, schedule=schedule, method=method, observe=names)
        return _stacked(found, names), found.status

    def initial(q: Columns) -> Inexact[np.ndarray, "twins states"]:
        return np.stack([0.0 * one, 0.0 * one, q["Gb"], 0.0 * one, q["Ib"]], axis=1)

    def doses(q: Columns) -> list[tuple[Any, Any, Any]]:
        return [(q["first"], 60000.0 * one, None), (q["second"], 40000.0 * one, None)]

    peer = Simulated(
        model=cvodes.MEAL,
        drawn=drawn,
        initial=initial,
        saves=saves,
        observed=tuple(range(5)),
        doses=doses,
        share=lambda q: one,
        floor=1e-4,  # insulin action is some 1e-2 per minute
    )
    at = {"first": first, "second": second}
    terms = {"first": "meal time, first", "second": "meal time, second"}
    return Question("glucose after meals", terms, at, answer, peer.floor, peer.point, lambda: peer.forward(at))


def pump(twins: int, seed: int) -> Question:
    """A pump between two thresholds, and a meal that moves the times at which it is switched."""
    from benchmarks.gradients_models import PumpGlucose
    from vht.solve import Doses, Schedule, simulate

    model, saves, names, one = PumpGlucose(), np.linspace(0.0, 480.0, 49)[1:], ("G", "X", "I"), np.ones(twins)

    def peer_of(drawn: Columns) -> Simulated:
        many = len(drawn["high"])
        return Simulated(
            model=cvodes.PUMP,
            drawn=drawn,
            initial=lambda q: np.tile([0.0, 0.0, 140.0, 0.0, 0.0, 0.0], (many, 1)),
            saves=saves,
            observed=(2, 3, 4),
            doses=lambda q: [(q["meal"], np.full(many, 40000.0), None)],
            share=lambda q: np.ones(many),
            floor=1e-4,
        )

    # where glucose only just touches a threshold, there is no derivative: choose twins that keep away from that
    many = 2 * twins + 8
    drawn = _drawn(model, many, seed, tuple(parameters(model)))
    draw = np.random.default_rng([seed, cvodes.PUMP])
    (time,) = _away_from(saves, ((60.0, 200.0),), lambda time: (time,), draw, many)
    at, peer = {"high": drawn["high"], "low": drawn["low"], "meal": time}, peer_of(drawn)
    own = peer.solved(at)[0].count
    same = np.ones(many, bool)
    for name, column in at.items():
        for share in (1.0 - _KEPT_AWAY, 1.0 + _KEPT_AWAY):
            same &= peer.solved({**at, name: share * column})[0].count == own
    chosen = np.flatnonzero(same)[:twins]
    if len(chosen) < twins:
        raise RuntimeError(
            f"Only {len(chosen)} of {many} drawn twins keep away from touching a threshold; want {twins}."
        )
    drawn, at = ({name: column[chosen] for name, column in columns.items()} for columns in (drawn, at))
    peer = peer_of(drawn)

    def answer(q: Mapping[str, Any], method: Any) -> tuple[Any, Any]:
        schedule = Schedule(doses={"meal": Doses(_rows(q["meal"]), _rows(40000.0 * one))})
        columns = {**drawn, "high": q["high"], "low": q["low"]}
        found = simulate(model, saves, twins=columns, schedule=schedule, method=method, observe=names)
        return _stacked(found, names), found.status

    def seen() -> Bool[np.ndarray, "twins saves"]:
        # the sensitivity of insulin jumps where the pump is switched
        events = peer.solved(at)[0].events
        near = np.abs(saves[None, :, None] - events[:, None, :]) < _UNSEEN * (saves[1] - saves[0])
        return ~near.any(axis=2)

    terms = {"high": "event threshold, upper", "low": "event threshold, lower", "meal": "meal time, through events"}
    return Question("insulin pump", terms, at, answer, peer.floor, peer.point, None, seen=seen, step=5e-5)


def steady(twins: int, seed: int) -> Question:
    """HIRES at rest; to CVODES it is a long simulation."""
    from benchmarks.gradients_models import HiresAtRest
    from vht.solve import steady_state

    model = HiresAtRest()
    columns = Twins.sample(model, twins, seed=seed, spread=0.2).columns
    drawn, names = {name: columns[name] for name in parameters(model)}, tuple(states(model))
    enzyme = 0.0057 * np.exp(0.2 * np.random.default_rng([seed, cvodes.HIRES]).standard_normal(twins))
    at = {name: drawn[name] for name in ("k1", "k5", "k_plus", "oks")} | {"enzyme": enzyme}

    def answer(q: Mapping[str, Any], method: Any) -> tuple[Any, Any]:
        moved = {name: column for name, column in q.items() if name != "enzyme"}
        found = steady_state(
            model,
            twins={**drawn, **moved},
            initial={"y8": q["enzyme"]},
            observe=names,
            method=method,
            tolerance=method.rtol,
        )
        return _stacked(found, names)[:, None], found.status

    def initial(q: Columns) -> Inexact[np.ndarray, "twins states"]:
        zero = 0.0 * q["enzyme"]
        return np.stack([1.0 + zero, *[zero] * 6, q["enzyme"]], axis=1)

    peer = Simulated(
        model=cvodes.HIRES,
        drawn=drawn,
        initial=initial,
        saves=np.array([2000.0]),  # the slowest of its twins' disturbances fall by 1/e in some 20
        observed=tuple(range(8)),
        doses=lambda q: [],
        share=lambda q: 1.0,
        floor=1e-4,
    )
    terms = {name: f"steady state, {name}" for name in at}
    return Question("HIRES at rest", terms, at, answer, peer.floor, peer.point, lambda: peer.forward(at), step=1e-2)


def _drawn(model: Organ, twins: int, seed: int, order: tuple[str, ...]) -> dict[str, Float[np.ndarray, " twins"]]:
    drawn = Twins.sample(model, twins, seed=seed).columns
    return {name: drawn.get(name, np.full(twins, float(getattr(model, name)))) for name in order}


def _away_from(
    saves: Float[np.ndarray, " saves"],
    ranges: tuple[tuple[float, float], ...],
    times: Callable[..., tuple[Float[np.ndarray, " twins"], ...]],
    draw: np.random.Generator,
    twins: int,
) -> Float[np.ndarray, "ranges twins"]:
    """Numbers drawn within ranges, so that no time that follows from them lies near a save."""
    drawn, todo = np.empty((len(ranges), twins)), np.ones(twins, bool)
    while todo.any():
        for column, (low, high) in zip(drawn, ranges, strict=True):
            column[todo] = draw.uniform(low, high, int(todo.sum()))
        gaps = np.abs(np.stack(times(*drawn))[..., None] - saves)
        todo = np.min(gaps, axis=(0, 2)) < _APART * (saves[1] - saves[0])
    return drawn


def _rows(*columns: Any) -> Any:
    import jax.numpy as jnp

    return jnp.stack([jnp.asarray(column) for column in columns], axis=1)


def _stacked(found: Any, names: tuple[str, ...]) -> Any:
    import jax.numpy as jnp

    return jnp.stack([found.values[name] for name in names], axis=-1)
