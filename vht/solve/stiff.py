"""The stiff method in the loop: Rodas5P, the states as scalars, the sensitivities in tables, direction after direction.

A step factors one matrix, sparse and written out for the model's pattern (`sparse`, `elimination`). The sensitivities use the
same factors: differentiating the step's equations along a direction leaves their matrix as it is. What remains of the second
derivatives is one sparse matrix a step and direction, the derivative of the sensitivities' own rates by the states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int
from vht_kernels import full_like, length, read, scratch, write

from vht.solve import controller, rough
from vht.solve import rosenbrock as rodas
from vht.solve.breaks import Break, Moved, Side
from vht.solve.consistent import Constraints
from vht.solve.crossings import Jumps, Truths
from vht.solve.directions import Directions, Index, InputLines, MovedEvents
from vht.solve.explicit import first_step, nowhere_unless, write_row
from vht.solve.propagate import Span, Step, Written, all_finite, choose, first_not_finite, scales
from vht.solve.sensitivity import Augmented, Line
from vht.solve.sparse import multiplied
from vht.solve.steppers import underestimate
from vht.solve.sums import combined
from vht.solve.system import Named, Scalar, Switches, Values
from vht.solve.twin import Inputs, Twin

# The estimate is that of the solution of order 4, while that of order 5 is carried on, whose errors are far below tolerances.
# This share of the estimate brings them nearer (`python -m benchmarks stiff`).
CAUTION = 0.5
# tolerances that algebraic variables in the middle of a step may be away from what their equations give
APART = 10.0
# of the work table, by direction: the sensitivities at the end of the step, and the coefficients inside it
END, INSIDE = 0, (1, 2, 3)
PARTS = 4
Body = Callable[[Index, Any], Any]


class _Point(NamedTuple):
    x: Values
    s: Array | None  # sensitivities, direction after direction
    work: Array | None  # what a step leaves: `PARTS` rows of states a direction
    lines: Array | None  # how each direction moves the inputs
    tau: Array | None  # how each direction moves the time of the last jump, where events of the state ask for it
    culprit: Int[Array, ""]  # number of an algebraic variable without a value, -1 for none


class _Inner(NamedTuple):
    x: Values
    inside: tuple[Values, ...]
    work: Array | None


class _Tables(NamedTuple):
    values: tuple[Array, ...]
    tangents: tuple[Array, ...]
    time_rates: tuple[Array, ...]


class Stiff:
    """One twin's states and sensitivities under Rodas5P.

    Args:
        augmented: the model with its directions and what is observed.
        twin: its numbers.
        time_rates: also save the derivatives with respect to the times of the saves.
    """

    order = rodas.ORDER
    gains = controller.STIFF
    underestimate = underestimate(rodas.NODES, *map(tuple, rodas.classical()[2:])) / CAUTION

    def __init__(self, augmented: Augmented, twin: Twin, time_rates: bool = False) -> None:
        self.augmented, self.twin, self.time_rates = augmented, twin, time_rates
        self.system, self.p = augmented.system, twin.parameters
        self.directions = Directions(self.system, augmented.seeds)
        self.m, self.n = len(augmented.seeds), augmented.size
        self.dtype = np.dtype(twin.rtol.dtype)
        self.moved = None if twin.moved is None else MovedEvents(twin.moved, self.m, self.dtype)
        self.lines = InputLines.of(self.directions.union)
        self.constraints = Constraints(augmented, twin) if any(self.system.algebraic) else None
        self.differential = [j for j, algebraic in enumerate(self.system.algebraic) if not algebraic]

    def each(self, body: Body, carry: Any) -> Any:
        """Run a piece of code for every direction, one after another."""
        # their number comes from the data: what LLVM knows of a loop it may want to unroll
        return lax.fori_loop(np.int32(0), length(self.twin.sizes), body, carry)

    # ------------------------------------------------------------------------------------------------------ points

    def initial(self, inputs: Inputs) -> _Point:
        twin = self.twin
        t = self.twin.cast(twin.start)
        x = self.system.initial(self.p, twin.initial)
        u = inputs.at(twin.start)
        culprit = jnp.full((), -1, np.int32)
        if self.constraints is not None:
            x, culprit = self.constraints.settle(t, x, u)
        if not self.m:
            return _Point(x, None, None, None, None, culprit)
        s = scratch(self.m * self.n, jnp.zeros((), self.dtype))
        work = scratch(PARTS * self.m * self.n, jnp.zeros((), self.dtype))
        tau = scratch(self.m, jnp.zeros((), self.dtype)) if self.system.events else None
        lines = self.lines.empty(self.m, self.dtype)
        if lines is not None and self.moved is not None:
            moved = self.moved
            lines = self.each(lambda k, lines: self.lines.write(lines, k, moved.first_line(k)), lines)
        f = self.full_rates(t, x, u, inputs.line.slopes) if any(seed.start for seed in self.augmented.seeds) else ()

        def of(k: Index, s: Array) -> Array:
            row = self.directions.start(k, self.directions.initial(k, self.p, twin.initial, x), f)
            return self.write_row(
                s, k, self.consistent(k, t, x, u, row, self.du(lines, k, self.elapsed(inputs, twin.start)))
            )

        return _Point(x, self.each(of, s), work, lines, tau, culprit)

    def consistent(self, k: Index, t: Scalar, x: Values, u: Named, s: Values, du: Named) -> Values:
        """Sensitivities whose algebraic part follows from the others."""
        if self.constraints is None:
            return s
        return self.constraints.settle_tangent(t, x, u, s, self.directions.own(k, self.p), du)

    def torn(self, span: Span, step: Step, point: _Point, inputs: Inputs) -> Bool[Array, ""]:
        if self.constraints is None:
            return jnp.array(False)
        t = span.begin + 0.5 * span.taken
        x = self.inside(step, point, jnp.full((), 0.5, self.dtype))
        found, culprit = self.constraints.settle(self.twin.cast(t), x, inputs.at(t))
        apart = culprit >= 0
        for j in self.constraints.rows:
            tolerated = self.twin.atol + self.twin.rtol * abs(found[j])
            apart = apart | ~(abs(found[j] - x[j]) <= APART * tolerated)
        return apart

    def settled(self, t: Scalar, x: Values, point: _Point, inputs: Inputs, along: bool) -> _Point:
        if self.constraints is None:
            return point
        time, u, lines = self.twin.cast(t), inputs.at(t), point.lines
        x, found = self.constraints.settle(time, x, u)
        point = point._replace(x=x, culprit=jnp.maximum(point.culprit, found))
        if point.s is None or not along:
            return point
        elapsed = self.elapsed(inputs, t)

        def of(k: Index, table: Array) -> Array:
            du = self.du(lines, k, elapsed)
            return self.write_row(table, k, self.consistent(k, time, x, u, self.row(table, k), du))

        return point._replace(s=self.each(of, point.s))

    def full_rates(self, t: Scalar, x: Values, u: Named, slopes: Named) -> Values:
        """Time derivatives of all states, algebraic ones among them."""
        f = self.system.rates(t, self.p, x, u)
        return f if self.constraints is None else self.constraints.rates(t, x, u, slopes, f)

    def states(self, point: _Point) -> Values:
        return point.x

    def culprit(self, point: _Point) -> Int[Array, ""]:
        return point.culprit

    def finite(self, point: _Point) -> Bool[Array, ""]:
        finite = all_finite(point.x)
        if point.s is None:
            return finite
        s = point.s
        return self.each(lambda k, finite: finite & all_finite(self.row(s, k)), finite)

    def empty_memo(self, point: _Point) -> tuple[()]:
        return ()

    # --------------------------------------------------------------------------------------------------------- rows

    def row(self, table: Array, k: Index) -> Values:
        """The entries of row `k`, one a state."""
        first = k * np.int32(self.n)
        return tuple(read(table, first + np.int32(j)) for j in range(self.n))

    def write_row(self, table: Array, k: Index, values: Values) -> Array:
        first = k * np.int32(self.n)
        for j, value in enumerate(values):
            table = write(table, first + np.int32(j), value)
        return table

    def du(self, lines: Array | None, k: Index, elapsed: Scalar) -> dict[str, Scalar]:
        return self.lines.read(lines, k).at(elapsed)

    def elapsed(self, inputs: Inputs, t: Scalar) -> Scalar:
        return self.twin.cast(t - inputs.since)

    # ------------------------------------------------------------------------------------------------------- steps

    def begin(self, t: Scalar, point: _Point, inputs: Inputs) -> tuple[()]:
        return ()

    def first_step(self, t: Scalar, point: _Point, memo: tuple[()], inputs: Inputs, stop: Scalar, h: Scalar) -> Scalar:
        """By the states alone: the error test will tell about the others."""
        x, some = point.x, self.differential
        tolerated = scales(self.twin.atol, self.twin.rtol, tuple(x[j] for j in some))

        def flow(t: Scalar, moving: Values) -> Values:
            full = list(x)
            for j, v in zip(some, moving, strict=True):
                full[j] = v
            f = self.system.rates(self.twin.cast(t), self.p, tuple(full), inputs.at(t))
            return tuple(f[j] for j in some)

        def norm2(v: Values) -> Scalar:
            return rough.mean_square(v, tolerated)

        moving = tuple(x[j] for j in some)
        guess = first_step(flow, norm2, t, moving, flow(t, moving), self.twin.cast(stop - t))
        guess = jnp.where(guess > self.twin.longest, self.twin.longest, guess)
        return jnp.where(h > 0.0, jnp.minimum(h, guess), guess)

    def attempt(self, span: Span, point: _Point, memo: Any, inputs: Inputs, switches: Switches) -> Step:
        x, h = point.x, self.twin.cast(span.taken)
        elapsed = self.elapsed(inputs, span.begin)
        line = Line(inputs.line.at(elapsed), inputs.line.slopes)
        begin = self.twin.cast(span.begin)
        f, slope_x, slope_t = rodas.linearized(
            lambda t, x, u, du: self.system.rates(t, self.p, x, u), begin, x, line, Line({}, {})
        )
        stages = rodas.Stages(h, slope_x, self.n, self.differential)
        seen = [switches]
        times = [span.at(node) for node in rodas.NODES]
        clock = [self.twin.cast(t) for t in times]
        held = [inputs.at(t) for t in times]
        arguments: list[Values] = []

        def rates(i: int, argument: Values) -> Sequence[Scalar]:
            arguments.append(argument)
            if i == 0:
                return f
            seen.append(self.system.switches(clock[i], self.p, argument, held[i]))
            return self.system.rates(clock[i], self.p, argument, held[i])

        u, end = stages.solve(x, rates, slope_t, None)
        square = rough.mean_square(u[-1], scales(self.twin.atol, self.twin.rtol, x, end)) * CAUTION**2
        inside = tuple(combined(weights, u) for weights in rodas.DENSE)
        if point.s is None or point.work is None:
            return Step(square, end, (), seen, stages.factors.regular, _Inner(end, inside, None))

        table, lines = point.s, point.lines

        def of(k: Index, carry: tuple[Array, Scalar]) -> tuple[Array, Scalar]:
            work, worst = carry
            s, own, moved = self.row(table, k), self.directions.own(k, self.p), self.lines.read(lines, k)
            du = Line(moved.at(elapsed), moved.slopes)
            tangent = self.augmented.flow_tangent
            first, curvature, along = rodas.linearized(
                lambda t, x, u, du: tangent(t, self.p, x, u, s, own, du), begin, x, line, du
            )

            def rates(i: int, argument: Values) -> Sequence[Scalar]:
                if i == 0:
                    return first
                moves = moved.at(self.elapsed(inputs, times[i]))
                return tangent(clock[i], self.p, arguments[i], held[i], argument, own, moves)

            bent = [multiplied(curvature, stage) for stage in u]
            v, s_end = stages.solve(s, rates, along, bent)
            tolerated = scales(self.twin.atol / read(self.twin.sizes, k), self.twin.rtol, s, s_end)
            square = rough.mean_square(v[-1], tolerated) * CAUTION**2
            for part, row in enumerate((s_end, *(combined(weights, v) for weights in rodas.DENSE))):
                work = self.write_row(work, k * np.int32(PARTS) + np.int32(part), row)
            # NaN must not be lost in a maximum
            return work, jnp.where(square > worst, square, jnp.where(square == square, worst, square))

        work, square = self.each(of, (point.work, square))
        return Step(square, end, (), seen, stages.factors.regular, _Inner(end, inside, work))

    def inside(self, step: Step, point: _Point, theta: Scalar) -> Values:
        inner: _Inner = step.inner
        rows = zip(point.x, inner.x, *inner.inside, strict=True)
        return tuple(rodas.dense(theta, begin, end, rest) for begin, end, *rest in rows)

    def row_inside(self, work: Array, s: Values, k: Index, theta: Scalar) -> Values:
        """The sensitivities of direction `k` at a fraction of a step."""
        first = k * np.int32(PARTS)
        end, *rest = (self.row(work, first + np.int32(part)) for part in (END, *INSIDE))
        return tuple(rodas.dense(theta, a, b, more) for a, b, *more in zip(s, end, *rest, strict=True))

    def accept(self, accepted: Bool[Array, ""], step: Step, point: _Point) -> _Point:
        inner: _Inner = step.inner
        x = choose(accepted, inner.x, point.x)
        work = inner.work
        if point.s is None or work is None:
            return point._replace(x=x)

        def of(k: Index, s: Array) -> Array:
            return self.write_row(s, k, choose(accepted, self.row(work, k * np.int32(PARTS)), self.row(s, k)))

        return point._replace(x=x, s=self.each(of, point.s), work=work)

    def land(self, step: Step, point: _Point, theta: Scalar) -> _Point:
        inner: _Inner = step.inner
        x = self.inside(step, point, theta)
        work = inner.work
        if point.s is None or work is None:
            return point._replace(x=x)

        def of(k: Index, s: Array) -> Array:
            return self.write_row(s, k, self.row_inside(work, self.row(s, k), k, theta))

        return point._replace(x=x, s=self.each(of, point.s), work=work)

    # ------------------------------------------------------------------------------------------------------- saves

    def tables(self) -> _Tables:
        def empty(repeat: int = 1) -> tuple[Array, ...]:
            return tuple(full_like(self.twin.times, jnp.nan, self.dtype, repeat) for _ in self.augmented.observed)

        return _Tables(empty(), empty(self.m) if self.m else (), empty() if self.time_rates else ())

    def save(self, tables: _Tables, index: Int[Array, ""], t: Scalar, point: _Point, inputs: Inputs) -> Written:
        table = point.s
        rows = None if table is None else lambda k: self.row(table, k)
        return self._save(tables, index, t, point.x, rows, point.lines, inputs)

    def save_inside(
        self,
        tables: _Tables,
        index: Int[Array, ""],
        t: Scalar,
        step: Step,
        point: _Point,
        theta: Scalar,
        inputs: Inputs,
    ) -> Written:
        table, work = point.s, step.inner.work
        rows = None if table is None else lambda k: self.row_inside(work, self.row(table, k), k, theta)
        return self._save(tables, index, t, self.inside(step, point, theta), rows, point.lines, inputs)

    def _save(
        self,
        tables: _Tables,
        index: Int[Array, ""],
        t: Scalar,
        x: Values,
        rows: Callable[[Index], Values] | None,
        lines: Array | None,
        inputs: Inputs,
    ) -> Written:
        time, u = self.twin.cast(t), inputs.at(t)
        values, rates = self.augmented.observer(time, self.p, x, u), ()
        if self.time_rates:
            f = self.full_rates(time, x, u, inputs.line.slopes)
            rates = self.augmented.observed_rate(time, self.p, x, u, inputs.line.slopes, f)
        gaps = self.augmented.gaps
        culprit = first_not_finite(values, *((rates,) if self.time_rates else ()), gaps=gaps)
        tangents = tables.tangents
        if rows is not None:
            elapsed, saves, around = self.elapsed(inputs, t), length(self.twin.times), rows

            def of(k: Index, carry: tuple[tuple[Array, ...], Index]) -> tuple[tuple[Array, ...], Index]:
                tangents, culprit = carry
                own, du = self.directions.own(k, self.p), self.du(lines, k, elapsed)
                found = self.augmented.observed_tangent(time, self.p, x, u, around(k), own, du)
                if gaps == "none":
                    culprit = jnp.where(culprit < 0, first_not_finite(found, gaps=gaps), culprit)
                return write_row(tangents, k * saves + index, found), culprit

            tangents, culprit = self.each(of, (tangents, culprit))
            nothing = (jnp.full((), jnp.nan, self.dtype),) * len(values)

            def blank(k: Index, tangents: tuple[Array, ...]) -> tuple[Array, ...]:
                return write_row(tangents, nowhere_unless(culprit >= 0, k * saves + index), nothing)

            tangents = tangents if gaps == "all" else self.each(blank, tangents)
        place = nowhere_unless(culprit < 0, index)
        values, rates = write_row(tables.values, place, values), write_row(tables.time_rates, place, rates)
        return Written(_Tables(values, tangents, rates), culprit)

    def solved(self, tables: _Tables) -> tuple[Any, Any, Any]:
        return tables.values, tables.tangents, tables.time_rates

    # ------------------------------------------------------------------------------------------------------ events

    def scheduled(
        self, event: Int[Array, ""], t: Scalar, point: _Point, inputs: Inputs, caused: Bool[Array, ""]
    ) -> tuple[_Point, Inputs]:
        events = self.twin.events
        assert events is not None

        def entry(tables: Mapping[str, Array]) -> dict[str, Scalar]:
            return {port: read(table, event) for port, table in tables.items()}

        after = Inputs(Line(entry(events.values), entry(events.slopes)), t)
        amounts = entry(events.amounts)
        time, u, u_after = self.twin.cast(t), inputs.at(t), after.at(t)
        x, p = point.x, self.p
        x_after = self.system.jump(time, p, x, u, amounts) if amounts else x
        culprit = point.culprit
        if self.constraints is not None:
            x_after, found = self.constraints.settle(time, x_after, u_after)
            culprit = jnp.maximum(culprit, found)
        if point.s is None:
            return point._replace(x=x_after, culprit=culprit), after
        moved, lines = self.moved, point.lines
        timed = moved is not None and moved.tables.time is not None
        f_before = self.full_rates(time, x, u, inputs.line.slopes) if timed else ()
        f_after = self.full_rates(time, x_after, u_after, after.line.slopes) if timed else ()
        elapsed = self.elapsed(inputs, t)

        def of(k: Index, carry: tuple[Array, Array | None, Array | None]) -> tuple[Array, Array | None, Array | None]:
            table, lines, taus = carry
            s, du, own = self.row(table, k), self.du(lines, k, elapsed), self.directions.own(k, p)
            tau = None if moved is None else moved.tau(k, event)
            if tau is not None:
                s = tuple(si + fi * tau for si, fi in zip(s, f_before, strict=True))
                # what a dose does may hang on another input, which an event that moves meets at another height
                slopes = inputs.line.slopes
                du = du | {port: du.get(port, 0.0) + slope * tau for port, slope in slopes.items()}
            if amounts:
                more = {} if moved is None else moved.amounts(k, event)
                s = self.augmented.jump_tangent(time, p, x, u, amounts, s, own, tau, more, du)
            if tau is not None:
                s = tuple(si - fi * tau for si, fi in zip(s, f_after, strict=True))
            if lines is not None and moved is not None:
                lines = self.lines.write(lines, k, moved.line(k, event))
            s = self.consistent(k, time, x_after, u_after, s, self.du(lines, k, jnp.zeros_like(elapsed)))
            if taus is not None:
                last = jnp.zeros((), self.dtype) if tau is None else tau
                taus = write(taus, k, jnp.where(caused, read(taus, k), last))
            return self.write_row(table, k, s), lines, taus

        s, lines, taus = self.each(of, (point.s, lines, point.tau))
        return point._replace(x=x_after, s=s, lines=lines, tau=taus, culprit=culprit), after

    def broken(self, before: Side, was: Switches, flipped: Truths, t: Scalar, point: _Point, inputs: Inputs) -> _Point:
        slopes, after = inputs.line.slopes, Side(self.twin.cast(t), point.x, inputs.at(t))
        f_before, f_after = self.full_rates(*before, slopes), self.full_rates(*after, slopes)
        jump = Break.of(self.system, self.p, before, after, slopes, was, flipped, f_before, f_after)
        elapsed, lines = self.elapsed(inputs, t), point.lines

        def of(k: Index, carry: tuple[Array, Array | None]) -> tuple[Array, Array | None]:
            table, taus = carry
            du, own = self.du(lines, k, elapsed), self.directions.own(k, self.p)
            moved = Moved(self.consistent(k, *before, self.row(table, k), du), own, du)
            if taus is not None and self.constraints is not None:
                # events that algebraic variables make happen are at its time
                taus = write(taus, k, jump.tau(moved))
            (s,) = jump.behind([moved])
            return self.write_row(table, k, self.consistent(k, *after, s, du)), taus

        s, taus = self.each(of, (point.s, point.tau))
        return point._replace(s=s, tau=taus)

    def happened(self, jumps: Jumps, t: Scalar, point: _Point, inputs: Inputs) -> tuple[_Point, Values]:
        time, u, slopes, x, p = self.twin.cast(t), inputs.at(t), inputs.line.slopes, point.x, self.p
        x_after, culprit = jumps.after(time, p, x, u), point.culprit
        if self.constraints is not None:
            x_after, found = self.constraints.settle(time, x_after, u)
            culprit = jnp.maximum(culprit, found)
        after = self.full_rates(time, x_after, u, slopes)
        speeds_after = jumps.speeds(time, p, x_after, u, slopes, after)
        if point.s is None or point.tau is None:
            return point._replace(x=x_after, culprit=culprit), speeds_after
        before = self.full_rates(time, x, u, slopes)
        speeds = jumps.speeds(time, p, x, u, slopes, before)
        elapsed, lines = self.elapsed(inputs, t), point.lines

        def of(k: Index, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            table, taus = carry
            s, du, own = self.row(table, k), self.du(lines, k, elapsed), self.directions.own(k, p)
            tau = jumps.tau(time, p, x, u, speeds, s, own, du, read(taus, k))
            s = jumps.tangent(time, p, x, u, slopes, before, after, tau, s, own, du)
            return self.write_row(table, k, self.consistent(k, time, x_after, u, s, du)), write(taus, k, tau)

        s, taus = self.each(of, (point.s, point.tau))
        return point._replace(x=x_after, s=s, tau=taus, culprit=culprit), speeds_after
