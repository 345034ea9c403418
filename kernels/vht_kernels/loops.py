"""Loops in LLVM IR whose lanes stop one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir

from vht_kernels.emitter import Emitter, Value

INDEX = np.dtype(np.int64)


def loop(
    e: Emitter,
    start: Sequence[Value],
    uniform: Sequence[bool],
    condition: Callable[[Sequence[Value]], Value],
    step: Callable[[Sequence[Value]], Sequence[Value]],
) -> list[Value]:
    """A loop that runs until no lane of the scope's mask wants another turn; finished lanes keep their values.

    Args:
        e: where it is written.
        start: the carried values.
        uniform: which of them stay one number for all lanes.
        condition: writes whether there is another turn.
        step: writes one turn.
    """
    before = e.scope
    registers = [v.ir if u else e.spread(v) for v, u in zip(start, uniform, strict=True)]
    header, inside, after = e.block("loop"), e.block("turn"), e.block("after")
    e.enter(header, loop=True, mask=before.mask)
    carry: list[Value] = []
    phis: list[ir.PhiInstr] = []
    for value, register, same in zip(start, registers, uniform, strict=True):
        phi = e.builder.phi(register.type)
        phi.add_incoming(register, before.builder.block)
        phis.append(phi)
        carry.append(Value(phi, value.dtype, same, e.level))
    wanted = condition(carry)
    mask = before.mask
    together = wanted.uniform or not e.width  # all lanes stop at once: nothing to keep
    if together:
        again = wanted.ir
    else:
        mask = e.masked(wanted.ir)
        again = e.any(mask)
    e.enter(inside, loop=False, mask=mask)
    for phi, old, new in zip(phis, carry, step(carry), strict=True):
        if old.uniform:
            register = new.ir
        elif new is old:
            register = phi
        elif together:
            register = e.spread(new)
        else:
            register = e.builder.select(mask, e.spread(new), phi)
        phi.add_incoming(register, e.builder.block)
    e.builder.branch(header)
    e.leave()
    e.builder.cbranch(again, inside, after)
    e.leave()
    before.builder.branch(header)
    before.builder.position_at_end(after)
    return [Value(v.ir, v.dtype, v.uniform, e.level) for v in carry]


def count(e: Emitter, end: Value, turn: Callable[[Value], None]) -> None:
    """A loop over 0, 1, ... up to before `end`, the same for all lanes."""

    def more(carry: Sequence[Value]) -> Value:
        return e.op("lt", [carry[0], end], np.dtype(np.bool_), lambda b, p, q: b.icmp_signed("<", p, q))

    def step(carry: Sequence[Value]) -> list[Value]:
        turn(carry[0])
        return [e.op("add", [carry[0], e.constant(1, INDEX)], INDEX, lambda b, p, q: b.add(p, q))]

    loop(e, [e.constant(0, INDEX)], [True], more, step)
