"""From a jaxpr of scalars and tables to the LLVM function that runs it for a range of lane groups.

The function written here is ``void NAME(ptr buffers, ptr lengths, i64 lanes, i64 first, i64 last)``: buffers of all inputs,
then all outputs; the length of every input's table; how many lanes there are; which groups of `width` lanes to run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend import core as jex
from llvmlite import ir

from vht_kernels.emitter import I1, I32, I64, PTR, Emitter, Table, Value, memory_type, suffix
from vht_kernels.errors import LoweringError, unsupported
from vht_kernels.rules import RULES, convert, select
from vht_kernels.uniform import infer_uniform, inner_jaxprs, nested_jaxpr

Operand = Value | Table
INDEX = np.dtype(np.int64)


@dataclasses.dataclass(frozen=True)
class Argument:
    """One input of the kernel: a scalar or a table, its own for each lane or shared by all."""

    dtype: np.dtype
    table: bool
    shared: bool


def lower(
    closed: jex.ClosedJaxpr, arguments: Sequence[Argument], width: int, name: str, reciprocals: bool = False
) -> ir.Module:
    """Write a kernel.

    Args:
        closed: the function of one lane, without constants.
        arguments: one for each of its inputs.
        width: lanes a step; 0 writes scalar code.
        name: of the function.
        reciprocals: divide by what a loop does not change through its reciprocal.

    Raises:
        LoweringError: if the jaxpr holds something that lanes cannot do.
    """
    return _Lowering(width, name, reciprocals).run(closed, arguments)


class _Lowering:
    def __init__(self, width: int, name: str, reciprocals: bool) -> None:
        self.module = ir.Module(name=name)
        self.width = width
        self.e = Emitter(self.module, width, reciprocals)
        signature = ir.FunctionType(ir.VoidType(), [PTR, PTR, I64, I64, I64])
        self.function = ir.Function(self.module, signature, name)
        self.storages: list[ir.AllocaInstr] = []
        self.storage_lengths: list[Value] = []

    # ------------------------------------------------------------------------------------------------ the frame

    def run(self, closed: jex.ClosedJaxpr, arguments: Sequence[Argument]) -> ir.Module:
        if closed.consts:
            raise LoweringError("constants must be inputs")  # a mistake of the caller, never of a user
        e, (buffers, lengths, lanes, first, last) = self.e, self.function.args
        entry = e.enter(self.function.append_basic_block("entry"), loop=False, mask=None)
        bases = [self._load_pointer(entry.builder, buffers, i) for i in range(len(arguments))]
        outs = [
            self._load_pointer(entry.builder, buffers, len(arguments) + i) for i in range(len(closed.jaxpr.outvars))
        ]
        sizes = [self._length(entry.builder, lengths, i) if a.table else None for i, a in enumerate(arguments)]

        header, body, done = e.block("groups"), e.block("group"), e.block("done")
        e.enter(header, loop=True, mask=None)
        group = e.builder.phi(I64)
        group.add_incoming(first, entry.builder.block)
        more = e.builder.icmp_signed("<", group, last)
        lane = self._lane = self._lane_numbers(group)
        alive = e.builder.icmp_signed("<", lane.ir, e.spread(Value(lanes, INDEX, True, 0)))
        e.enter(body, loop=False, mask=alive)
        start = e.builder.mul(group, ir.Constant(I64, max(1, self.width)))
        inputs = [
            self._input(a, base, size, lane, start, alive)
            for a, base, size in zip(arguments, bases, sizes, strict=True)
        ]
        results = self._jaxpr(closed.jaxpr, inputs)
        owners = self._place_storages(results, outs)
        for variable, result, out in zip(closed.jaxpr.outvars, results, outs, strict=True):
            if isinstance(result, Table):
                if result.storage is None or owners[result.storage] is not out:
                    self._copy_table(result, out, lane, alive)
            else:
                self._store(convert(e, result, np.dtype(variable.aval.dtype)), out, start, alive)
        group.add_incoming(e.builder.add(group, ir.Constant(I64, 1)), e.builder.block)
        e.builder.branch(header)
        e.leave()
        e.builder.cbranch(more, body, done)
        e.leave()
        e.builder.branch(header)
        e.builder.position_at_end(done)
        for slot, owner in zip(self.storages, owners, strict=True):
            if owner is None:
                self._free(entry.builder, slot)
        e.builder.ret_void()
        e.leave()
        return self.module

    def _load_pointer(self, builder: ir.IRBuilder, array: ir.Value, index: int) -> ir.Value:
        address = builder.gep(array, [ir.Constant(I64, index)], source_etype=PTR)
        return builder.load(address, typ=PTR)

    def _length(self, builder: ir.IRBuilder, lengths: ir.Value, index: int) -> Value:
        address = builder.gep(lengths, [ir.Constant(I64, index)], source_etype=I64)
        return Value(builder.load(address, typ=I64), INDEX, True, 0)

    def _lane_numbers(self, group: ir.Value) -> Value:
        e = self.e
        if not self.width:
            return Value(group, INDEX, False, e.level)
        start = e.builder.mul(group, ir.Constant(I64, self.width))
        steps = ir.Constant(ir.VectorType(I64, self.width), list(range(self.width)))
        return Value(e.builder.add(e.spread(Value(start, INDEX, True, e.level)), steps), INDEX, False, e.level)

    def _input(
        self, a: Argument, base: ir.Value, size: Value | None, lane: Value, start: ir.Value, alive: ir.Value
    ) -> Operand:
        e = self.e
        if a.table:
            assert size is not None
            offset = None
            if not a.shared:
                # lanes past the last one only ever read what lane n-1 may read
                offset = self._times(self._last_lane(lane), size)
            return Table(base, a.dtype, size, offset, None)
        if a.shared:
            number = e.scopes[0].builder.load(base, typ=memory_type(a.dtype))
            return self._from_memory(Value(number, a.dtype, True, 0))
        address = e.builder.gep(base, [start], source_etype=memory_type(a.dtype))
        return self._from_memory(Value(self._masked_load(address, a.dtype, alive), a.dtype, False, e.level))

    def _last_lane(self, lane: Value) -> Value:
        count = Value(self.function.args[2], INDEX, True, 0)
        one = self.e.constant(1, INDEX)
        last = self.e.op("sub", [count, one], INDEX, lambda b, p, q: b.sub(p, q))
        return self.e.op("lane", [lane, last], INDEX, lambda b, p, q: b.select(b.icmp_signed("<", p, q), p, q))

    def _times(self, x: Value, y: Value) -> Value:
        return self.e.op("mul", [x, y], INDEX, lambda b, p, q: b.mul(p, q))

    def _from_memory(self, value: Value) -> Value:
        if value.dtype != np.bool_:
            return value
        b = self.e.scopes[value.level].builder
        zero = ir.Constant(value.ir.type, [0] * self.width if isinstance(value.ir.type, ir.VectorType) else 0)
        return dataclasses.replace(value, ir=b.icmp_unsigned("!=", value.ir, zero))

    def _masked_load(self, address: ir.Value, dtype: np.dtype, mask: ir.Value) -> ir.Value:
        e, element = self.e, memory_type(dtype)
        if not self.width:
            return e.builder.load(address, typ=element)
        vector = ir.VectorType(element, self.width)
        name = f"llvm.masked.load.{suffix(vector)}.p0"
        f = e.intrinsic(name, vector, [PTR, I32, mask.type, vector])
        return e.builder.call(f, [address, ir.Constant(I32, element_size(dtype)), mask, ir.Constant(vector, None)])

    def _store(self, value: Value, base: ir.Value, start: ir.Value, alive: ir.Value) -> None:
        e, element = self.e, memory_type(value.dtype)
        address = e.builder.gep(base, [start], source_etype=element)
        number = self._to_memory(e.spread(value), value.dtype)
        if not self.width:
            e.builder.store(number, address)
            return
        f = e.intrinsic(
            f"llvm.masked.store.{suffix(number.type)}.p0", ir.VoidType(), [number.type, PTR, I32, alive.type]
        )
        e.builder.call(f, [number, address, ir.Constant(I32, element_size(value.dtype)), alive])

    def _to_memory(self, number: ir.Value, dtype: np.dtype) -> ir.Value:
        return self.e.builder.zext(number, self.e.lanes_of(ir.IntType(8))) if dtype == np.bool_ else number

    # ------------------------------------------------------------------------------------------------ jaxprs

    def _jaxpr(self, jaxpr: jex.Jaxpr, inputs: Sequence[Operand]) -> list[Operand]:
        env: dict[Any, Operand] = dict(zip(jaxpr.invars, inputs, strict=True))
        last_use = _last_uses(jaxpr)

        def value_of(atom: Any) -> Operand:
            if isinstance(atom, jex.Literal):
                aval: Any = atom.aval
                return self.e.constant(atom.val, np.dtype(aval.dtype))
            return env[atom]

        for number, eqn in enumerate(jaxpr.eqns):
            args = [value_of(a) for a in eqn.invars]
            if eqn.primitive.name == "table_write" and last_use[eqn.invars[0]] > number:
                raise unsupported(eqn, "the table as it was before writing is used again afterwards")
            results = self._equation(eqn, args)
            for variable, result in zip(eqn.outvars, results, strict=True):
                env[variable] = result
        return [value_of(a) for a in jaxpr.outvars]

    def _equation(self, eqn: Any, args: list[Operand]) -> Sequence[Operand]:
        name = eqn.primitive.name
        structured = _STRUCTURED.get(name)
        if structured is not None:
            return structured(self, eqn, args)
        rule = RULES.get(name)
        if rule is None:
            inner = nested_jaxpr(eqn)
            assert inner is not None  # `check` has seen it
            return self._jaxpr(inner.jaxpr, [*self._constants(inner), *args])
        if len(eqn.outvars) > 1:
            return args  # optimization_barrier and device_put of several values
        try:
            return [rule.lower(self.e, eqn, [a for a in args if isinstance(a, Value)])]
        except (TypeError, KeyError) as error:
            raise unsupported(eqn, str(error)) from error

    # ------------------------------------------------------------------------------------------------ loops

    def _while(self, eqn: Any, args: list[Operand]) -> list[Operand]:
        p = eqn.params
        test, body = p["cond_jaxpr"], p["body_jaxpr"]
        test_consts = args[: p["cond_nconsts"]]
        body_consts = args[p["cond_nconsts"] : p["cond_nconsts"] + p["body_nconsts"]]
        start = args[p["cond_nconsts"] + p["body_nconsts"] :]
        uniform = _loop_uniform(test, body, test_consts, body_consts, start)

        def condition(carry: Sequence[Operand]) -> Value:
            (result,) = self._jaxpr(test.jaxpr, [*self._constants(test), *test_consts, *carry])
            assert isinstance(result, Value)
            return result

        def step(carry: Sequence[Operand]) -> list[Operand]:
            return self._jaxpr(body.jaxpr, [*self._constants(body), *body_consts, *carry])

        return self._loop(eqn, start, uniform, condition, step)

    def _scan(self, eqn: Any, args: list[Operand]) -> list[Operand]:
        p = eqn.params
        consts, start, xs = np.split(np.arange(len(args)), [p["num_consts"], p["num_consts"] + p["num_carry"]])
        if len(eqn.outvars) > p["num_carry"]:
            raise unsupported(eqn, "its stacked results would be an array; write them into a table instead")
        inner, trips = p["jaxpr"], p["length"]
        fixed = [args[i] for i in consts]
        tables = [args[i] for i in xs]
        counter_dtype = np.dtype(np.int32)
        first = self.e.constant(trips - 1 if p["reverse"] else 0, counter_dtype)
        end = self.e.constant(-1 if p["reverse"] else trips, counter_dtype)
        by = self.e.constant(-1 if p["reverse"] else 1, counter_dtype)
        carried = [args[i] for i in start]
        uniform = _scan_uniform(inner, fixed, carried, tables)

        def condition(carry: Sequence[Operand]) -> Value:
            counter = carry[0]
            assert isinstance(counter, Value)
            return self.e.op("ne", [counter, end], np.dtype(np.bool_), lambda b, p, q: b.icmp_signed("!=", p, q))

        def step(carry: Sequence[Operand]) -> list[Operand]:
            counter = carry[0]
            assert isinstance(counter, Value)
            entries = [self._read_entry(table, counter) for table in tables if isinstance(table, Table)]
            after = self._jaxpr(inner.jaxpr, [*self._constants(inner), *fixed, *carry[1:], *entries])
            return [self.e.op("add", [counter, by], counter_dtype, lambda b, p, q: b.add(p, q)), *after]

        return self._loop(eqn, [first, *carried], [True, *uniform], condition, step)[1:]

    def _loop(
        self,
        eqn: Any,
        start: Sequence[Operand],
        uniform: Sequence[bool],
        condition: Callable[[Sequence[Operand]], Value],
        step: Callable[[Sequence[Operand]], list[Operand]],
    ) -> list[Operand]:
        """A loop that runs until no lane of the scope's mask wants another turn; finished lanes keep their values."""
        e = self.e
        before = e.scope
        registers = [
            None if isinstance(v, Table) else v.ir if u else e.spread(v) for v, u in zip(start, uniform, strict=True)
        ]
        header, inside, after = e.block("loop"), e.block("turn"), e.block("after")
        e.enter(header, loop=True, mask=before.mask)
        carry: list[Operand] = []
        for value, register, same in zip(start, registers, uniform, strict=True):
            if isinstance(value, Table) or register is None:
                carry.append(value)
                continue
            phi = e.builder.phi(register.type)
            phi.add_incoming(register, before.builder.block)
            carry.append(Value(phi, value.dtype, same, e.level))
        wanted = condition(carry)
        mask = before.mask
        if wanted.uniform and self.width:
            again = wanted.ir
        else:
            mask = e.masked(wanted.ir)
            again = e.any(mask)
        e.enter(inside, loop=False, mask=mask)
        results = step(carry)
        for old, new in zip(carry, results, strict=True):
            if isinstance(old, Table):
                if not isinstance(new, Table) or new.storage != old.storage or new.base is not old.base:
                    raise unsupported(eqn, "a table carried by a loop must be the same table, written")
                continue
            assert isinstance(new, Value)
            phi = old.ir
            if old.uniform:
                register = new.ir
            elif new is old:
                register = phi
            elif wanted.uniform:
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
        return [v if isinstance(v, Table) else Value(v.ir, v.dtype, v.uniform, e.level) for v in carry]

    # ------------------------------------------------------------------------------------------------ branches

    def _cond(self, eqn: Any, args: list[Operand]) -> list[Operand]:
        e, branches = self.e, eqn.params["branches"]
        which, operands = args[0], args[1:]
        assert isinstance(which, Value)
        if all(_is_cheap(b.jaxpr) for b in branches):
            return self._choose_among(which, [self._branch(b, operands) for b in branches])
        uniform = all(_uniformity(args))
        results: list[Operand | None] = [None] * len(eqn.outvars)
        for number, branch in enumerate(branches):
            chosen = self._is_branch(which, number, len(branches))
            jump = chosen.uniform and bool(self.width)  # all lanes go the same way: nothing to select
            mask = e.scope.mask if jump else e.masked(chosen.ir)
            wanted = chosen.ir if jump else e.any(mask)
            before = e.scope
            inside, after = e.block("branch"), e.block("join")
            e.enter(inside, loop=False, mask=mask)
            outs = self._branch(branch, operands)
            registers = []
            for old, new in zip(results, outs, strict=True):
                if isinstance(new, Table):
                    if isinstance(old, Table) and (old.base is not new.base or old.storage != new.storage):
                        raise unsupported(eqn, "all branches must return the same table")
                    registers.append(None)
                    continue
                register = new.ir if uniform else e.spread(new)
                if isinstance(old, Value) and not jump:
                    register = e.builder.select(chosen.ir, register, old.ir)
                registers.append(register)
            end = e.builder.block
            e.builder.branch(after)
            e.leave()
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
                results[i] = Value(phi, new.dtype, uniform, e.level)
        return [r for r in results if r is not None]

    def _branch(self, branch: jex.ClosedJaxpr, operands: Sequence[Operand]) -> list[Operand]:
        return self._jaxpr(branch.jaxpr, [*self._constants(branch), *operands])

    def _is_branch(self, which: Value, number: int, count: int) -> Value:
        e, boolean = self.e, np.dtype(np.bool_)
        if which.dtype == np.bool_:
            return which if number else e.op("not", [which], boolean, lambda b, x: b.not_(x))
        if number == 0:
            below = e.constant(1, which.dtype)
            return e.op("lt", [which, below], boolean, lambda b, p, q: b.icmp_signed("<", p, q))
        here = e.constant(number, which.dtype)
        if number == count - 1:
            return e.op("ge", [which, here], boolean, lambda b, p, q: b.icmp_signed(">=", p, q))
        return e.op("eq", [which, here], boolean, lambda b, p, q: b.icmp_signed("==", p, q))

    def _choose_among(self, which: Value, outs: list[list[Operand]]) -> list[Operand]:
        result: list[Operand] = list(outs[-1])
        for number in range(len(outs) - 2, -1, -1):
            here = self._is_branch(which, number, len(outs))
            for i, (yes, no) in enumerate(zip(outs[number], result, strict=True)):
                if isinstance(yes, Value) and isinstance(no, Value):
                    result[i] = select(self.e, here, yes, no)
        return result

    def _constants(self, closed: jex.ClosedJaxpr) -> list[Operand]:
        return [self.e.constant(c, np.dtype(c.dtype)) for c in map(np.asarray, closed.consts)]

    # ------------------------------------------------------------------------------------------------ tables

    def _read_entry(self, table: Table, index: Value) -> Value:
        e = self.e
        zero, one = e.constant(0, INDEX), e.constant(1, INDEX)
        last = e.op("sub", [table.length, one], INDEX, lambda b, p, q: b.sub(p, q))

        def clamp(b: ir.IRBuilder, i: ir.Value, end: ir.Value, none: ir.Value) -> ir.Value:
            i = b.select(b.icmp_signed("<", i, end), i, end)
            return b.select(b.icmp_signed("<", i, none), none, i)

        place = e.op("clamp", [convert(e, index, INDEX), last, zero], INDEX, clamp)
        if table.offset is not None:
            place = e.op("add", [place, table.offset], INDEX, lambda b, p, q: b.add(p, q))
        filled = e.op("gt", [table.length, zero], np.dtype(np.bool_), lambda b, p, q: b.icmp_signed(">", p, q))

        def gather(b: ir.IRBuilder, i: ir.Value, some: ir.Value) -> ir.Value:
            return self._gather(b, table.base, table.dtype, i, some)

        # a written table may hold something else the next time: such a read stays where it is
        if table.storage is None:
            here = e.op(("read", id(table.base)), [place, filled], table.dtype, gather)
        else:
            here = Value(gather(e.builder, e.spread(place), e.spread(filled)), table.dtype, False, e.level)
        return self._from_memory(here)

    def _gather(self, b: ir.IRBuilder, base: ir.Value, dtype: np.dtype, place: ir.Value, some: ir.Value) -> ir.Value:
        element = memory_type(dtype)
        if not isinstance(place.type, ir.VectorType):
            # an empty table has no memory behind it: read the place where its own address is kept instead
            address = b.gep(base, [place], source_etype=element)
            return b.select(
                some, b.load(b.select(some, address, self._nothing()), typ=element), ir.Constant(element, 0)
            )
        pointers = b.gep(base, [place], source_etype=element)
        # llvmlite gives a vector index a scalar result type; the instruction itself yields a vector of pointers
        vector, addresses = ir.VectorType(element, self.width), ir.VectorType(PTR, self.width)
        pointers.type = addresses
        f = self.e.intrinsic(
            f"llvm.masked.gather.{suffix(vector)}.v{self.width}p0",
            vector,
            [addresses, I32, ir.VectorType(I1, self.width), vector],
        )
        return b.call(f, [pointers, ir.Constant(I32, element_size(dtype)), some, ir.Constant(vector, None)])

    def _nothing(self) -> ir.GlobalVariable:
        found = self.module.globals.get("nothing")
        if found is None:
            found = ir.GlobalVariable(self.module, I64, "nothing")
            found.initializer = ir.Constant(I64, 0)
            found.linkage = "internal"
            found.global_constant = True
        return found

    def _table_read(self, eqn: Any, args: list[Operand]) -> list[Operand]:
        table, index = args
        assert isinstance(table, Table) and isinstance(index, Value)
        return [self._read_entry(table, index)]

    def _table_length(self, eqn: Any, args: list[Operand]) -> list[Operand]:
        (table,) = args
        assert isinstance(table, Table)
        return [convert(self.e, table.length, np.dtype(np.int32))]

    def _table_full_like(self, eqn: Any, args: list[Operand]) -> list[Operand]:
        like, fill = args
        assert isinstance(like, Table) and isinstance(fill, Value)
        e, frame = self.e, self.e.scopes[0].builder
        slot = frame.alloca(PTR, name=f"storage{len(self.storages)}")
        self.storages.append(slot)
        self.storage_lengths.append(like.length)
        offset = self._times(self._lane, like.length)
        # where the storage lies is known only at the end (an output, or memory of its own), so its address is read
        # from a slot that the frame fills; LLVM turns the slot into a register
        base = e.scopes[2].builder.load(slot, typ=PTR)
        table = Table(base, fill.dtype, like.length, offset, len(self.storages) - 1)
        self._fill(table, fill)
        return [table]

    def _fill(self, table: Table, fill: Value) -> None:
        e = self.e
        zero = e.constant(0, INDEX)

        def more(carry: Sequence[Operand]) -> Value:
            counter = carry[0]
            assert isinstance(counter, Value)
            operands = [counter, table.length]
            return e.op("lt", operands, np.dtype(np.bool_), lambda b, p, q: b.icmp_signed("<", p, q))

        def put(carry: Sequence[Operand]) -> list[Operand]:
            counter = carry[0]
            assert isinstance(counter, Value)
            self._write_entry(table, counter, fill)
            return [e.op("add", [counter, e.constant(1, INDEX)], INDEX, lambda b, p, q: b.add(p, q))]

        self._loop(None, [zero], [True], more, put)

    def _table_write(self, eqn: Any, args: list[Operand]) -> list[Operand]:
        table, index, value = args
        assert isinstance(table, Table) and isinstance(index, Value) and isinstance(value, Value)
        if table.storage is None:
            raise unsupported(eqn, "an input is not written to; make a table with `full_like`")
        self._write_entry(table, convert(self.e, index, INDEX), value)
        return [table]

    def _write_entry(self, table: Table, index: Value, value: Value) -> None:
        e = self.e
        assert table.offset is not None
        zero = e.constant(0, INDEX)

        def inside(b: ir.IRBuilder, i: ir.Value, end: ir.Value, none: ir.Value) -> ir.Value:
            return b.and_(b.icmp_signed("<", i, end), b.icmp_signed(">=", i, none))

        ok = e.op("inside", [index, table.length, zero], np.dtype(np.bool_), inside)
        place = e.op("add", [index, table.offset], INDEX, lambda b, p, q: b.add(p, q))
        self._scatter(table.base, value, place, e.masked(e.spread(ok)))

    def _scatter(self, base: ir.Value, value: Value, place: Value, mask: ir.Value) -> None:
        e, element = self.e, memory_type(value.dtype)
        number = self._to_memory(e.spread(value), value.dtype)
        pointers = e.builder.gep(base, [e.spread(place)], source_etype=element)
        if not self.width:
            put, after = e.block("put"), e.block("next")
            e.builder.cbranch(mask, put, after)
            e.builder.position_at_end(put)
            e.builder.store(number, pointers)
            e.builder.branch(after)
            e.builder.position_at_end(after)
            return
        pointers.type = ir.VectorType(PTR, self.width)
        f = e.intrinsic(
            f"llvm.masked.scatter.{suffix(number.type)}.v{self.width}p0",
            ir.VoidType(),
            [number.type, pointers.type, I32, mask.type],
        )
        e.builder.call(f, [number, pointers, ir.Constant(I32, element_size(value.dtype)), mask])

    def _place_storages(self, results: Sequence[Operand], outs: Sequence[ir.Value]) -> list[ir.Value | None]:
        """Give every storage its memory: the output it becomes, or (rarely) memory of its own."""
        frame = self.e.scopes[0].builder
        owners: list[ir.Value | None] = [None] * len(self.storages)
        for result, out in zip(results, outs, strict=True):
            if isinstance(result, Table) and result.storage is not None and owners[result.storage] is None:
                owners[result.storage] = out
        for number, slot in enumerate(self.storages):
            owner = owners[number]
            frame.store(owner if owner is not None else self._allocate(frame, self.storage_lengths[number]), slot)
        return owners

    def _allocate(self, frame: ir.IRBuilder, length: Value) -> ir.Value:
        malloc = self.e.intrinsic("malloc", PTR, [I64])
        # indexed by lane number like an output, so that both kinds of storage are one
        entries = frame.mul(length.ir, frame.add(self.function.args[2], ir.Constant(I64, max(1, self.width))))
        return frame.call(malloc, [frame.add(frame.mul(entries, ir.Constant(I64, 8)), ir.Constant(I64, 8))])

    def _free(self, frame: ir.IRBuilder, slot: ir.Value) -> None:
        free = self.e.intrinsic("free", ir.VoidType(), [PTR])
        frame.call(free, [frame.load(slot, typ=PTR)])

    def _copy_table(self, source: Table, out: ir.Value, lane: Value, alive: ir.Value) -> None:
        target = Table(out, source.dtype, source.length, self._times(lane, source.length), -1)
        e = self.e

        def more(carry: Sequence[Operand]) -> Value:
            counter = carry[0]
            assert isinstance(counter, Value)
            operands = [counter, source.length]
            return e.op("lt", operands, np.dtype(np.bool_), lambda b, p, q: b.icmp_signed("<", p, q))

        def put(carry: Sequence[Operand]) -> list[Operand]:
            counter = carry[0]
            assert isinstance(counter, Value)
            self._write_entry(target, counter, self._read_entry(source, counter))
            return [e.op("add", [counter, e.constant(1, INDEX)], INDEX, lambda b, p, q: b.add(p, q))]

        self._loop(None, [e.constant(0, INDEX)], [True], more, put)


_ARRAY_MESSAGE = (
    "inside lanes every value is a scalar; arrays are tables, used through read, write, length and full_like"
)


def check(jaxpr: jex.Jaxpr) -> None:
    """Look for what lanes has no rule for, before anything is compiled.

    Raises:
        LoweringError: names the primitive and the line of the user's program.
    """
    for eqn in jaxpr.eqns:
        inner = nested_jaxpr(eqn)
        if eqn.primitive.name in _STRUCTURED:
            for part in inner_jaxprs(eqn):
                check(part)
        elif inner is not None:
            check(inner.jaxpr)
        else:
            avals: list[Any] = [v.aval for v in (*eqn.invars, *eqn.outvars)]
            arrays = any(aval.shape != () for aval in avals)
            if arrays or eqn.primitive.name not in RULES:
                raise unsupported(eqn, _ARRAY_MESSAGE if arrays else "there is no rule for this primitive")


def element_size(dtype: np.dtype) -> int:
    """Bytes of one value in memory."""
    return 1 if dtype == np.bool_ else dtype.itemsize


def _is_cheap(jaxpr: jex.Jaxpr) -> bool:
    """Whether running a branch for nothing costs less than finding out that it is not needed."""
    return len(jaxpr.eqns) <= 4 and all(eqn.primitive.name in _CHEAP for eqn in jaxpr.eqns)


_CHEAP = frozenset(
    (
        "add",
        "sub",
        "mul",
        "neg",
        "max",
        "min",
        "abs",
        "select_n",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "and",
        "or",
        "not",
    )
)


def _last_uses(jaxpr: jex.Jaxpr) -> dict[Any, int]:
    last: dict[Any, int] = {}
    for number, eqn in enumerate(jaxpr.eqns):
        for atom in eqn.invars:
            if not isinstance(atom, jex.Literal):
                last[atom] = number
    for atom in jaxpr.outvars:
        if not isinstance(atom, jex.Literal):
            last[atom] = len(jaxpr.eqns)
    return last


def _uniformity(operands: Sequence[Operand]) -> list[bool]:
    return [(o.offset is None) if isinstance(o, Table) else o.uniform for o in operands]


def _loop_uniform(
    test: jex.ClosedJaxpr,
    body: jex.ClosedJaxpr,
    test_consts: Sequence[Operand],
    body_consts: Sequence[Operand],
    start: Sequence[Operand],
) -> list[bool]:
    """Which carried values stay the same number in all lanes for the whole loop."""
    carry = _uniformity(start)
    while True:
        out = infer_uniform(body.jaxpr, [True] * len(body.consts) + _uniformity(body_consts) + carry)
        (same_turns,) = infer_uniform(test.jaxpr, [True] * len(test.consts) + _uniformity(test_consts) + carry)
        after = [a and b and same_turns for a, b in zip(carry, out, strict=True)]
        if after == carry:
            return carry
        carry = after


def _scan_uniform(
    inner: jex.ClosedJaxpr, fixed: Sequence[Operand], carried: Sequence[Operand], tables: Sequence[Operand]
) -> list[bool]:
    carry = _uniformity(carried)
    while True:
        known = [True] * len(inner.consts) + _uniformity(fixed) + carry + _uniformity(tables)
        out = infer_uniform(inner.jaxpr, known)
        after = [a and b for a, b in zip(carry, out, strict=True)]
        if after == carry:
            return carry
        carry = after


_STRUCTURED: dict[str, Callable[[_Lowering, Any, list[Operand]], list[Operand]]] = {
    "while": _Lowering._while,
    "scan": _Lowering._scan,
    "cond": _Lowering._cond,
    "table_read": _Lowering._table_read,
    "table_length": _Lowering._table_length,
    "table_full_like": _Lowering._table_full_like,
    "table_write": _Lowering._table_write,
}
