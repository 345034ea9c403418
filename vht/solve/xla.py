"""The other backend: the same equations through diffrax under `jax.vmap`, on whatever XLA runs on.

Steps, error test and dense output are diffrax's own, so that the two backends check each other. Between two events the
solve is smooth; a scan goes from event to event.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int

from vht.solve.clock import FLOOR_ULPS
from vht.solve.largest import largest
from vht.solve.methods import RK4, Diffrax, Method, Rodas5P, RushLarsen, Tsit5
from vht.solve.propagate import first_not_finite
from vht.solve.sensitivity import Augmented, Line
from vht.solve.status import Status
from vht.solve.system import Scalar, Values
from vht.solve.twin import Solved, Twin

Tables = tuple[Array, ...]


class _Inputs(NamedTuple):
    line: Line
    moved: tuple[Line, ...]
    since: Scalar


class _State(NamedTuple):
    t: Scalar
    y: Values
    inputs: _Inputs
    tables: tuple[Tables, tuple[Tables, ...], Tables]
    status: Int[Array, ""]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    culprit: Int[Array, ""]


def solve_twin(augmented: Augmented, method: Method, time_rates: bool, twin: Twin) -> Solved:
    """Solve one twin with diffrax.

    Args:
        augmented: the model with its directions and what is observed.
        method: `Tsit5` runs diffrax's own Tsit5, `Rodas5P` its Kvaerno5.
        time_rates: also give the derivatives with respect to the times of the saves.
        twin: its numbers.

    Raises:
        ValueError: diffrax has no counterpart of the method.
    """
    if isinstance(method, RushLarsen):
        raise ValueError(
            "`RushLarsen` runs on the `lanes` backend only: give `method=Rodas5P(...)` for the `xla` backend."
        )
    if isinstance(method, RK4):
        raise ValueError("`RK4` runs on the `lanes` backend only: give `method=Tsit5(step=...)` for the `xla` backend.")
    return _Segments(augmented, method, time_rates, twin).run()


class _Segments:
    def __init__(self, augmented: Augmented, method: Method, time_rates: bool, twin: Twin) -> None:
        self.augmented, self.method, self.time_rates, self.twin = augmented, method, time_rates, twin
        self.dtype = twin.rtol.dtype
        self.n = augmented.size
        self.times = jnp.where(jnp.arange(twin.times.shape[0], dtype=np.int32) < twin.saves, twin.times, jnp.inf)

    def at(self, t: Scalar, inputs: _Inputs) -> tuple[dict[str, Scalar], tuple[dict[str, Scalar], ...]]:
        elapsed = (t - inputs.since).astype(self.dtype)
        return inputs.line.at(elapsed), tuple(line.at(elapsed) for line in inputs.moved)

    def scaled(self, y: Values, back: bool = False) -> Values:
        """Sensitivities times the size of what moves, so that one tolerance fits all; and back."""
        rows = list(y[: self.n])
        for size, s in zip(self.twin.sizes, self.augmented.split(y)[1], strict=True):
            rows += [v / size if back else v * size for v in s]
        return tuple(rows)

    def norm(self, errors: Values) -> Scalar:
        """The largest root mean square among the states and each direction's sensitivities."""
        groups = [errors[i : i + self.n] for i in range(0, len(errors), self.n)]
        squares = jnp.stack([sum(e * e for e in group) / self.n for group in groups])
        return jnp.sqrt(largest(squares, axis=None))

    def observe(self, t: Scalar, y: Values, inputs: _Inputs) -> tuple[Values, tuple[Values, ...], Values]:
        p, time = self.twin.parameters, t.astype(self.dtype)
        u, du = self.at(t, inputs)
        values, tangents = self.augmented.observe(time, p, y, u, du)
        rates: Values = ()
        if self.time_rates:
            x = y[: self.n]
            f = self.augmented.system.rates(time, p, x, u)
            rates = self.augmented.observed_rate(time, p, x, u, inputs.line.slopes, f)
        return values, tangents, rates

    def fill(self, c: _State, found: Any, here: Bool[Array, " saves"]) -> _State:
        """Save what was found at some of the times, up to where something observed is not finite."""
        values, tangents, rates = found
        rows = (values, *tangents, *((rates,) if self.time_rates else ()))
        culprits = jax.vmap(functools.partial(first_not_finite, gaps=self.augmented.gaps))(*rows)
        bad = here & (culprits >= 0)
        kept = here & ~(jnp.cumsum(bad.astype(np.int32)) > 0)
        tables = jax.tree.map(lambda table, new: jnp.where(kept, new, table), c.tables, found)
        failed = bad.any()
        return c._replace(
            tables=tables,
            status=jnp.where(failed, np.int32(Status.NON_FINITE), c.status),
            culprit=jnp.where(failed, np.int32(self.n) + culprits[jnp.argmax(bad)], c.culprit),
        )

    def smooth(self, c: _State, stop: Scalar) -> _State:
        """Solve up to a stop, without events on the way, and save."""
        import diffrax

        clock = self.dtype if isinstance(self.method, Diffrax) else np.dtype(np.float64)
        begin, end = c.t.astype(clock), stop.astype(clock)

        def rates(t: Any, z: Values, args: tuple[Twin, _Inputs]) -> Values:
            del args
            u, du = self.at(t.astype(np.float64), c.inputs)
            y = self.scaled(z, back=True)
            return self.scaled(self.augmented.flow(t.astype(self.dtype), self.twin.parameters, y, u, du))

        z = self.scaled(c.y)
        controller: Any
        if isinstance(self.method, Tsit5) and self.method.step is not None:
            controller, first = diffrax.ConstantStepSize(), self.twin.step.astype(clock)
        else:
            floor = FLOOR_ULPS * jnp.finfo(clock).eps * jnp.maximum(abs(begin), abs(end))
            # below the floor a twin ends: taking steps of that size unchecked would pass for a result
            settings: dict[str, Any] = {"norm": self.norm, "dtmin": floor, "force_dtmin": False}
            settings["dtmax"] = self.twin.longest.astype(clock)
            settings |= self.method.controller if isinstance(self.method, Diffrax) else {}
            controller = diffrax.PIDController(rtol=self.twin.rtol, atol=self.twin.atol, **settings)
            first = None
        solver: Any = diffrax.Tsit5()
        if isinstance(self.method, Rodas5P):
            solver = diffrax.Kvaerno5()
        elif isinstance(self.method, Diffrax) and self.method.solver is not None:
            solver = self.method.solver
        with jax.numpy_dtype_promotion("standard"):
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(rates),
                solver,
                begin,
                end,
                first,
                z,
                (self.twin, c.inputs),
                # apart: in one table the state where a solve failed would take the place of the next save
                saveat=diffrax.SaveAt(
                    subs=(
                        diffrax.SubSaveAt(ts=jnp.clip(self.times.astype(clock), begin, end)),
                        diffrax.SubSaveAt(t1=True),
                    )
                ),
                stepsize_controller=controller,
                max_steps=self.method.max_steps,
                throw=False,
            )
        assert solution.ys is not None and solution.ts is not None
        saved, last = solution.ys
        rows = jax.vmap(lambda z: self.scaled(z, back=True))(saved)
        found = jax.vmap(lambda t, y: self.observe(t, y, c.inputs))(self.times, rows)
        solved = jnp.stack([jnp.isfinite(v) for v in rows]).all(axis=0)
        here = (self.times > c.t) & (self.times <= stop) & solved
        y = self.scaled(tuple(v[0] for v in last), back=True)
        going = jnp.stack([jnp.isfinite(v) for v in y]).all()
        status = jnp.where(going, Status.OK, Status.NON_FINITE)
        # once there, a last step cut short to land is no failure
        short = solution.ts[1][0] < end
        for result, code in (
            (diffrax.RESULTS.max_steps_reached, Status.MAX_STEPS),
            (diffrax.RESULTS.dt_min_reached, Status.STEP_TOO_SMALL),
            (diffrax.RESULTS.nonlinear_divergence, Status.NON_FINITE),
            (diffrax.RESULTS.nonlinear_max_steps_reached, Status.NON_FINITE),
            (diffrax.RESULTS.singular, Status.NON_FINITE),
        ):
            status = jnp.where(short & (solution.result == result), code, status)
        after = c._replace(
            t=stop,
            y=y,
            status=status.astype(np.int32),
            steps=c.steps + solution.stats["num_steps"].astype(np.int32),
            rejected=c.rejected + solution.stats["num_rejected_steps"].astype(np.int32),
        )
        # before the solve failed, if it did
        return self.fill(after, found, here)

    def segment(self, c: _State, index: Int[Array, ""]) -> tuple[_State, None]:
        """Up to event `index` (past the last one: to the end), and over it."""
        events = self.twin.events
        if events is None:
            return self.advance(c, self.twin.end), None
        count = events.time.shape[0]
        row = jnp.minimum(index, count - 1)
        real = (index < count) & (index >= events.first)
        time = jnp.where(index < count, events.time[row], jnp.inf)
        # events before the start are history, those after the end never come
        stop = jnp.where(index < events.first, c.t, jnp.minimum(time, self.twin.end))
        c = self.advance(c, stop)
        jumped = self.event(c, row, time)
        reached = real & (time <= self.twin.end) & (c.status == np.int32(Status.OK))
        return jax.tree.map(lambda new, old: jnp.where(reached, new, old), jumped, c), None

    def advance(self, c: _State, stop: Scalar) -> _State:
        u, du = self.at(c.t, c.inputs)
        rates = self.augmented.flow(c.t.astype(self.dtype), self.twin.parameters, c.y, u, du)
        finite = jnp.stack([jnp.isfinite(v) for v in (*rates, *c.y, (stop - c.t).astype(self.dtype))]).all()
        # a stop that is not a number is no reason to stay
        running = (c.status == np.int32(Status.OK)) & ~(stop <= c.t)
        # what cannot go on stays where it is: a stretch of no length for diffrax, from states that it can hold
        moving = running & finite
        still = c._replace(y=tuple(jnp.where(moving, v, jnp.ones_like(v)) for v in c.y))
        done = self.smooth(still, jnp.where(moving, stop, c.t))
        c = jax.tree.map(lambda new, old: jnp.where(moving, new, old), done, c)
        failed = jnp.where(running & ~finite, np.int32(Status.NON_FINITE), c.status)
        return c._replace(status=failed)

    def event(self, c: _State, row: Int[Array, ""], time: Scalar) -> _State:
        events = self.twin.events
        assert events is not None

        def entry(tables: Any) -> dict[str, Scalar]:
            return {port: table[row] for port, table in tables.items()}

        moved = tuple(Line({}, {}) if m is None else Line(entry(m.values), entry(m.slopes)) for m in self.twin.moved)
        inputs = _Inputs(Line(entry(events.values), entry(events.slopes)), moved, time)
        tau = tuple(None if m is None or m.time is None else m.time[row].astype(self.dtype) for m in self.twin.moved)
        entering = tuple({} if m is None else entry(m.amounts) for m in self.twin.moved)
        u, driven = self.at(time, c.inputs)
        before = Line(u, c.inputs.line.slopes)
        after, _ = self.at(time, inputs)
        clock, amounts = time.astype(self.dtype), entry(events.amounts)
        y = self.augmented.jump(clock, self.twin.parameters, c.y, before, after, amounts, tau, entering, driven)
        return c._replace(y=y, inputs=inputs)

    def run(self) -> Solved:
        twin, augmented = self.twin, self.augmented
        events = twin.events
        if events is None:
            inputs = _Inputs(Line({}, {}), tuple(Line({}, {}) for _ in twin.moved), twin.start)
        else:
            moved = tuple(
                Line({}, {}) if m is None else Line(dict(m.start_values), dict(m.start_slopes)) for m in twin.moved
            )
            inputs = _Inputs(Line(dict(events.start_values), dict(events.start_slopes)), moved, twin.start)
        u, _ = self.at(twin.start, inputs)
        y = augmented.initial(twin.parameters, twin.initial)
        y = augmented.start(twin.start.astype(self.dtype), twin.parameters, y, u)

        nothing = jnp.full(twin.times.shape, jnp.nan, self.dtype)
        first = jax.tree.map(lambda v: jnp.broadcast_to(v, twin.times.shape), self.observe(twin.start, y, inputs))
        tables = jax.tree.map(lambda _: nothing, first)
        zero = jnp.zeros((), np.int32)
        possible = jnp.stack([jnp.isfinite(v) for v in y]).all()
        status = jnp.where(possible, np.int32(Status.OK), np.int32(Status.NON_FINITE))
        c = _State(twin.start, y, inputs, tables, status, zero, zero, jnp.full((), -1, np.int32))
        c = self.fill(c, first, (self.times <= twin.start) & possible)
        segments = 1 if events is None else events.time.shape[0] + 1
        if segments == 1:
            c, _ = self.segment(c, zero)
        else:
            c, _ = lax.scan(self.segment, c, jnp.arange(segments, dtype=np.int32))
        values, tangents, rates = c.tables
        return Solved(values, tangents, rates, c.status, c.steps, c.rejected, c.culprit, ())
