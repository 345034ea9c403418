"""Loops in LLVM IR whose lanes stop one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir

from vht_kernels.emitter import Emitter, Scope, Value

INDEX = np.dtype(np.int64)
# with fewer carried values it is cheaper to choose between old and new ones in each turn
MANY = 8


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
    scope = e.enter(header, loop=True, mask=before.mask)
    carry: list[Value] = []
    phis: list[ir.PhiInstr] = []
    for value, register, same in zip(start, registers, uniform, strict=True):
        phi = e.builder.phi(register.type)
        phi.add_incoming(register, before.builder.block)
        phis.append(phi)
        carry.append(Value(phi, value.dtype, same, e.level))
    leavers = None
    if e.width and sum(not same for same in uniform) >= MANY:
        leavers = _Leavers(e, before)
        scope.mask = leavers.inside
    wanted = condition(carry)
    together = wanted.uniform or not e.width  # all lanes stop at once: nothing to keep
    if together:
        mask, again = scope.mask, wanted.ir
    else:
        mask = e.masked(wanted.ir)
        if leavers is not None:
            leavers.leave(e, mask)
        again = e.any(mask)
    e.enter(inside, loop=False, mask=mask)
    aside: list[bool] = []
    for phi, old, new in zip(phis, carry, step(carry), strict=True):
        if new is old:
            register = phi
        elif old.uniform:
            register = new.ir
        else:
            register = e.spread(new)
            if leavers is None and not together:
                register = e.builder.select(mask, register, phi)
        phi.add_incoming(register, e.builder.block)
        aside.append(new is not old and not old.uniform)
    end = e.builder.block
    e.builder.branch(header)
    e.leave()
    results = list(phis) if leavers is None else leavers.keep(e, phis, registers, aside, end)
    e.builder.cbranch(again, inside, after)
    e.leave()
    before.builder.branch(header)
    before.builder.position_at_end(after)
    return [Value(result, v.dtype, v.uniform, e.level) for result, v in zip(results, carry, strict=True)]


class _Leavers:
    """Lanes that leave a loop before others: what they carry is put aside in the turn in which they leave.

    A turn in which nobody leaves then moves nothing, while to choose between old and new values at the end of each turn keeps
    both of them alive and moves all of them. Lanes that have left go on computing with what becomes of their values: masks keep
    them out of branches and inner loops, but not out of what a function does for large arguments.

    Args:
        e: stands at the beginning of a turn, behind the carried values.
        before: the scope around the loop.

    Attributes:
        inside: the lanes that have not left before this turn.
    """

    def __init__(self, e: Emitter, before: Scope) -> None:
        mask = e.all_lanes() if before.mask is None else before.mask
        self._header, self._before = e.builder.block, before.builder.block
        self.inside = e.builder.phi(mask.type)
        self.inside.add_incoming(mask, self._before)
        self._others: ir.Value = self.inside

    def leave(self, e: Emitter, others: ir.Value) -> None:
        """Let lanes leave.

        Args:
            e: stands behind the loop's condition, afterwards where all have left.
            others: the lanes that stay.
        """
        self._others, self._here = others, e.builder.block
        self._leaving = e.builder.xor(self.inside, others)
        self._aside, self._on = e.block("aside"), e.block("on")
        e.builder.cbranch(e.any(self._leaving), self._aside, self._on)
        e.builder.position_at_end(self._on)

    def keep(
        self,
        e: Emitter,
        carried: Sequence[ir.PhiInstr],
        first: Sequence[ir.Value],
        aside: Sequence[bool],
        end: ir.Block,
    ) -> list[ir.Value]:
        """What is carried, as it was when each lane left.

        Args:
            e: stands where all have left.
            carried: the values of a turn.
            first: those of the first one.
            aside: which of them change from turn to turn, each lane's own.
            end: the block in which a turn ends.
        """
        self.inside.add_incoming(self._others, end)
        results: list[ir.Value] = list(carried)
        if self._others is self.inside:
            return results
        builder = ir.IRBuilder(self._aside)
        for i, (now, begin, changes) in enumerate(zip(carried, first, aside, strict=True)):
            if changes:
                old, kept = _phi_at_start(self._header, now.type), _phi_at_start(self._on, now.type)
                old.add_incoming(begin, self._before)
                old.add_incoming(kept, end)
                kept.add_incoming(old, self._here)
                kept.add_incoming(builder.select(self._leaving, now, old), self._aside)
                results[i] = kept
        builder.branch(self._on)
        e.builder.position_at_end(self._on)  # which phis have moved
        return results


def _phi_at_start(block: ir.Block, ty: ir.Type) -> ir.PhiInstr:
    builder = ir.IRBuilder(block)
    builder.position_at_start(block)
    return builder.phi(ty)


def count(e: Emitter, end: Value, turn: Callable[[Value], None]) -> None:
    """A loop over 0, 1, ... up to before `end`, the same for all lanes."""

    def more(carry: Sequence[Value]) -> Value:
        return e.op("lt", [carry[0], end], np.dtype(np.bool_), lambda b, p, q: b.icmp_signed("<", p, q))

    def step(carry: Sequence[Value]) -> list[Value]:
        turn(carry[0])
        return [e.op("add", [carry[0], e.constant(1, INDEX)], INDEX, lambda b, p, q: b.add(p, q))]

    loop(e, [e.constant(0, INDEX)], [True], more, step)
