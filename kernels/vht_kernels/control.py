"""While, scan and cond: lanes that take other branches and other numbers of turns, and the tables they carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from jax.extend import core as jex
from llvmlite import ir

from vht_kernels.emitter import Emitter, Value
from vht_kernels.errors import unsupported
from vht_kernels.loops import loop
from vht_kernels.memory import Memory
from vht_kernels.places import carried, carry_of, joined, places_of
from vht_kernels.rules import select
from vht_kernels.uniform import Uniform, scan_counts
from vht_kernels.versions import Operand, Table

BOOL, COUNTER = np.dtype(np.bool_), np.dtype(np.int32)


class Walk(Protocol):
    """What writes the jaxprs inside."""

    e: Emitter
    memory: Memory
    uniform: Uniform

    def closed(self, closed: jex.ClosedJaxpr, inputs: Sequence[Operand]) -> list[Operand]: ...


def _uniformity(operands: Sequence[Operand]) -> list[bool]:
    return [(o.offset is None) if isinstance(o, Table) else o.uniform for o in operands]


# ---------------------------------------------------------------------------------------------------- loops


def lower_while(walk: Walk, eqn: Any, args: list[Operand]) -> list[Operand]:
    """A loop until all lanes are done."""
    p = eqn.params
    test, body = p["cond_jaxpr"], p["body_jaxpr"]
    cut = p["cond_nconsts"] + p["body_nconsts"]
    test_consts, body_consts, start = args[: p["cond_nconsts"]], args[p["cond_nconsts"] : cut], args[cut:]

    def condition(carry: Sequence[Operand]) -> Value:
        (result,) = walk.closed(test, [*test_consts, *carry])
        assert isinstance(result, Value)
        return result

    def step(carry: Sequence[Operand]) -> list[Operand]:
        return walk.closed(body, [*body_consts, *carry])

    tables = _carried_tables(walk, eqn, args)
    return _loop(walk, eqn, start, tables, walk.uniform.loop(eqn, _uniformity(args)), condition, step)


def lower_scan(walk: Walk, eqn: Any, args: list[Operand]) -> list[Operand]:
    """A loop over the entries of tables, or of a given number of turns."""
    p, e = eqn.params, walk.e
    constants, carried = scan_counts(eqn)
    if len(eqn.outvars) > carried:
        raise unsupported(eqn, "its stacked results would be an array; write them into a table instead")
    cut = constants + carried
    fixed, start, xs = args[:constants], args[constants:cut], args[cut:]
    trips = p["length"]
    first, end, by = (
        e.constant(number, COUNTER) for number in ((trips - 1, -1, -1) if p["reverse"] else (0, trips, 1))
    )

    def condition(carry: Sequence[Operand]) -> Value:
        counter = carry[0]
        assert isinstance(counter, Value)
        return e.op("ne", [counter, end], BOOL, lambda b, p, q: b.icmp_signed("!=", p, q))

    def step(carry: Sequence[Operand]) -> list[Operand]:
        counter = carry[0]
        assert isinstance(counter, Value)
        entries: list[Operand] = []
        for table in xs:
            assert isinstance(table, Table)
            walk.memory.versions.used(table, eqn)
            entries.append(walk.memory.read(table, counter))
        after = walk.closed(p["jaxpr"], [*fixed, *carry[1:], *entries])
        return [e.op("add", [counter, by], COUNTER, lambda b, p, q: b.add(p, q)), *after]

    uniform = walk.uniform.loop(eqn, _uniformity(args))
    tables = _carried_tables(walk, eqn, args)
    return _loop(walk, eqn, [first, *start], tables, [True, *uniform], condition, step)[1:]


def _loop(
    walk: Walk,
    eqn: Any,
    start: Sequence[Operand],
    tables: Sequence[Table],
    uniform: Sequence[bool],
    condition: Callable[[Sequence[Operand]], Value],
    step: Callable[[Sequence[Operand]], list[Operand]],
) -> list[Operand]:
    versions = walk.memory.versions
    turn, tables = versions.begin_loop(tables, eqn)

    def with_tables(values: Sequence[Value]) -> list[Operand]:
        numbers, held = iter(values), iter(tables)
        return [next(held) if isinstance(v, Table) else next(numbers) for v in start]

    def whole_step(values: Sequence[Value]) -> list[Value]:
        results = step(with_tables(values))
        after = _carry_over(walk, eqn, tables, [v for v in results if isinstance(v, Table)])
        versions.end_loop(turn, tables, after, eqn)
        return [v for v in results if isinstance(v, Value)]

    values = loop(
        walk.e,
        [v for v in start if isinstance(v, Value)],
        [same for v, same in zip(start, uniform, strict=True) if isinstance(v, Value)],
        lambda values: condition(with_tables(values)),
        whole_step,
    )
    return with_tables(values)


def _carried_tables(walk: Walk, eqn: Any, args: Sequence[Operand]) -> list[Table]:
    """The tables a loop begins with, some of them in memory of their own."""
    before, carry = places_of(args), carry_of(eqn)
    return [
        table if place is old else walk.memory.copied(table, eqn)
        for table, old, place in zip(args[carry], before[carry], carried(eqn, before), strict=True)
        if isinstance(table, Table)
    ]


def _carry_over(walk: Walk, eqn: Any, tables: Sequence[Table], after: Sequence[Table]) -> list[Table]:
    """Bring the tables that a turn made elsewhere to where the next one looks for them."""
    moves = [(i, new) for i, (old, new) in enumerate(zip(tables, after, strict=True)) if not new.lies_in(old)]
    targets = [tables[i] for i, _ in moves]
    # tables that change places: take them out of the way first
    moves = [(i, walk.memory.copied(t, eqn) if any(map(t.lies_in, targets)) else t) for i, t in moves]
    results = list(after)
    for i, table in moves:
        walk.memory.versions.used(table, eqn)
        walk.memory.copy(table, tables[i])
    for i, _ in moves:
        results[i] = walk.memory.versions.made(tables[i])
    return results


# ---------------------------------------------------------------------------------------------------- branches


def lower_cond(walk: Walk, eqn: Any, args: list[Operand]) -> list[Operand]:
    """A branch is run if some lane takes it, unless running it costs less than finding that out."""
    which, operands, branches = args[0], args[1:], eqn.params["branches"]
    assert isinstance(which, Value)
    before = places_of(args)
    in_place = [place is None or place in before for place in joined(eqn, before)]
    if all(in_place) and all(_is_cheap(b.jaxpr) for b in branches):
        return _choose_among(walk.e, which, [walk.closed(b, operands) for b in branches])
    return _branch_by_branch(walk, eqn, which, operands, in_place)


def _branch_by_branch(
    walk: Walk, eqn: Any, which: Value, operands: Sequence[Operand], in_place: Sequence[bool]
) -> list[Operand]:
    e, memory, branches = walk.e, walk.memory, eqn.params["branches"]
    uniform = walk.uniform.branches(eqn, _uniformity([which, *operands]))
    results: list[Operand | None] = [None] * len(eqn.outvars)
    held, ends = memory.versions.here(), []
    for number, branch in enumerate(branches):
        memory.versions.back_to(held)
        chosen = _is_branch(e, which, number, len(branches))
        jump = chosen.uniform or not e.width  # all lanes go the same way: nothing to select
        mask = e.scope.mask if jump else e.masked(chosen.ir)
        wanted = chosen.ir if jump else e.any(mask)
        before = e.scope
        inside, after = e.block("branch"), e.block("join")
        e.enter(inside, loop=False, mask=mask)
        outs = walk.closed(branch, operands)
        registers = []
        for i, (old, new) in enumerate(zip(results, outs, strict=True)):
            if isinstance(new, Table):
                memory.versions.used(new, eqn)
                if not in_place[i]:
                    outs[i] = target = old if isinstance(old, Table) else memory.make(new.length, new.dtype)
                    memory.copy(new, target)
                registers.append(None)
                continue
            register = new.ir if uniform[i] else e.spread(new)
            if isinstance(old, Value) and not jump:
                register = e.builder.select(chosen.ir, register, old.ir)
            registers.append(register)
        end = e.builder.block
        e.builder.branch(after)
        e.leave()
        ends.append(memory.versions.here())
        start = before.builder.block
        before.builder.cbranch(wanted, inside, after)
        before.builder.position_at_end(after)
        for i, (old, new, register) in enumerate(zip(results, outs, registers, strict=True)):
            if register is None:
                results[i] = new
                continue
            phi = before.builder.phi(register.type)
            phi.add_incoming(register, end)
            none_yet = old.ir if isinstance(old, Value) else ir.Constant(register.type, None)
            phi.add_incoming(none_yet, start)
            assert isinstance(new, Value)
            results[i] = Value(phi, new.dtype, uniform[i], e.level)
    memory.versions.join(held, ends)
    for i, result in enumerate(results):
        if isinstance(result, Table):
            results[i] = memory.versions.now(result) if in_place[i] else memory.versions.made(result)
    return [r for r in results if r is not None]


def _is_branch(e: Emitter, which: Value, number: int, count: int) -> Value:
    if which.dtype == np.bool_:
        return which if number else e.op("not", [which], BOOL, lambda b, x: b.not_(x))
    if number == 0:
        below = e.constant(1, which.dtype)
        return e.op("lt", [which, below], BOOL, lambda b, p, q: b.icmp_signed("<", p, q))
    here = e.constant(number, which.dtype)
    if number == count - 1:
        return e.op("ge", [which, here], BOOL, lambda b, p, q: b.icmp_signed(">=", p, q))
    return e.op("eq", [which, here], BOOL, lambda b, p, q: b.icmp_signed("==", p, q))


def _choose_among(e: Emitter, which: Value, outs: list[list[Operand]]) -> list[Operand]:
    result: list[Operand] = list(outs[-1])  # a table is the same in all branches
    for number in range(len(outs) - 2, -1, -1):
        here = _is_branch(e, which, number, len(outs))
        for i, (yes, no) in enumerate(zip(outs[number], result, strict=True)):
            if isinstance(yes, Value) and isinstance(no, Value):
                result[i] = select(e, here, yes, no)
    return result


def _is_cheap(jaxpr: jex.Jaxpr) -> bool:
    """Whether running a branch for nothing costs less than finding out that it is not needed."""
    return len(jaxpr.eqns) <= 4 and all(eqn.primitive.name in _CHEAP for eqn in jaxpr.eqns)


_CHEAP = frozenset(
    (
        *("add", "sub", "mul", "neg", "max", "min", "abs"),
        *("select_n", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"),
    )
)
