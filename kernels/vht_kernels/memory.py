"""What a kernel loads and stores: a group's scalars, entries of tables, and where the tables lie that a program makes.

On a processor a lane's table lies in one piece. On a GPU, where one thread is one lane (an emitter of width 0), entry after
entry of all lanes lie side by side, so that neighbouring threads touch neighbouring addresses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from vht_kernels.emitter import I1, I32, I64, PTR, Emitter, Value, memory_type, suffix
from vht_kernels.errors import LoweringError
from vht_kernels.loops import INDEX, count
from vht_kernels.rules import convert
from vht_kernels.versions import Operand, Table, Versions

OUT_OF_MEMORY = 1  # what a kernel returns instead of 0
WORD = 8  # bytes of the largest type
LINE = 64  # bytes of a cache line
THREAD = 512 << 10  # bytes of its own memory that a thread of a GPU can have ("CUDA C++ Programming Guide")


def element_size(dtype: np.dtype) -> int:
    """Bytes of one value in memory."""
    return 1 if dtype == np.bool_ else dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Extent:
    """How many entries a table has: `factor` times the length of an input (None: `factor` in all)."""

    argument: int | None
    factor: int


class Memory:
    """Loads and stores for one group of lanes.

    Attributes:
        start: the group's first lane.
        alive: which lanes there are; None, all.
        versions: what the tables hold.
        workspace: the tables for which a GPU's kernel needs memory beyond its outputs; known after `place`.
    """

    def __init__(self, e: Emitter, lanes: Value, start: Value) -> None:
        self.e = e
        self.workspace: tuple[Extent, ...] = ()
        self.nothing: ir.Value | None = None  # a place that may always be read, if the caller has one
        self._extents: dict[int, Extent] = {}  # by the serial number of a length
        self.lanes = lanes
        self.start = start.ir
        self.versions = Versions()
        self._slots: list[ir.AllocaInstr] = []
        self._tables: list[Table] = []  # by storage
        self.alive: Any = None
        if not e.width:
            # belongs to the scope that only threads with a lane enter: nothing that depends on it may be written before
            self.lane = Value(start.ir, INDEX, False, e.level + 1)
            return
        steps = ir.Constant(e.lanes_of(I64), list(range(e.width)))
        lane = e.builder.add(e.spread(start), steps)
        end = e.spread(lanes)
        self.alive = e.builder.icmp_signed("<", lane, end)
        # lanes past the last one take part in what the others do, and may touch only what the last one may touch
        last = e.spread(e.op("sub", [lanes, e.constant(1, INDEX)], INDEX, lambda b, p, q: b.sub(p, q)))
        self.lane = Value(e.builder.select(self.alive, lane, last), INDEX, False, e.level)
        # an instruction rather than a constant: a value with an identity of its own
        self._in_group = Value(e.builder.sub(lane, e.spread(start)), INDEX, False, e.level)

    # ------------------------------------------------------------------------------------------------ scalars

    def load(self, base: ir.Value, dtype: np.dtype) -> Value:
        """The lanes' numbers of one input."""
        e, element = self.e, memory_type(dtype)
        address = e.builder.gep(base, [self.start], source_etype=element)
        if not e.width:
            return self._from_memory(Value(e.builder.load(address, typ=element), dtype, False, e.level))
        vector = ir.VectorType(element, e.width)
        name = f"llvm.masked.load.{suffix(vector)}.p0"
        f = e.intrinsic(name, vector, [PTR, I32, self.alive.type, vector])
        arguments = [address, ir.Constant(I32, element_size(dtype)), self.alive, ir.Constant(vector, None)]
        return self._from_memory(Value(e.builder.call(f, arguments), dtype, False, e.level))

    def load_shared(self, base: ir.Value, dtype: np.dtype) -> Value:
        """The one number of an input that all lanes share."""
        number = self.e.scopes[0].builder.load(base, typ=memory_type(dtype))
        return self._from_memory(Value(number, dtype, True, 0))

    def store(self, value: Value, base: ir.Value) -> None:
        """The lanes' numbers of one output."""
        e, element = self.e, memory_type(value.dtype)
        address = e.builder.gep(base, [self.start], source_etype=element)
        number = self._to_memory(value)
        if not e.width:
            e.builder.store(number, address)
            return
        self._masked_store(number, address, self.alive)

    def _masked_store(self, number: ir.Value, address: ir.Value, mask: ir.Value) -> None:
        arguments = [number.type, PTR, I32, mask.type]
        f = self.e.intrinsic(f"llvm.masked.store.{suffix(number.type)}.p0", ir.VoidType(), arguments)
        size = 8 if isinstance(number.type.element, ir.DoubleType) else 4
        if isinstance(number.type.element, ir.IntType):
            size = number.type.element.width // 8
        self.e.builder.call(f, [number, address, ir.Constant(I32, size), mask])

    def _from_memory(self, value: Value) -> Value:
        if value.dtype != np.bool_:
            return value
        b = self.e.scopes[value.level].builder
        zero = ir.Constant(value.ir.type, [0] * self.e.width if isinstance(value.ir.type, ir.VectorType) else 0)
        return dataclasses.replace(value, ir=b.icmp_unsigned("!=", value.ir, zero))

    def _to_memory(self, value: Value) -> ir.Value:
        number = self.e.spread(value)
        return self.e.builder.zext(number, self.e.lanes_of(ir.IntType(8))) if value.dtype == np.bool_ else number

    # ------------------------------------------------------------------------------------------------ entries

    def table(self, base: ir.Value, dtype: np.dtype, length: Value, shared: bool) -> Table:
        """A table that is an input or an output."""
        return Table(base, dtype, length, None) if shared else self._own(base, dtype, length)

    def _own(self, base: ir.Value, dtype: np.dtype, length: Value) -> Table:
        """Each lane's table, all of them in one piece of memory."""
        if self.e.width:
            return Table(base, dtype, length, self._offset(length))
        return Table(base, dtype, length, self.lane, stride=self.lanes)

    def input_table(self, number: int, base: ir.Value, dtype: np.dtype, length: Value, shared: bool) -> Table:
        """The table that is an input of the program."""
        self._extents[length.serial] = Extent(number, 1)
        return self.table(base, dtype, length, shared)

    def multiple(self, length: Value, factor: int) -> Value:
        """So many times a table's length."""
        e, extent = self.e, self._extent(length)
        inner, e.scopes[1:] = e.scopes[1:], []  # where memory is shared out
        times = e.op("mul", [length, e.constant(factor, INDEX)], INDEX, lambda b, p, q: b.mul(p, q))
        e.scopes += inner
        self._extents[times.serial] = dataclasses.replace(extent, factor=extent.factor * factor)
        return times

    def _extent(self, length: Value) -> Extent:
        return self._extents.get(length.serial) or Extent(None, length.ir.constant)

    def constant_table(self, values: np.ndarray) -> Table:
        """A table that is part of the program."""
        e = self.e
        element = ir.IntType(8 * element_size(values.dtype))
        # as whole numbers: LLVM's text holds every bit pattern of those
        bits = values.view(f"i{element_size(values.dtype)}").tolist()
        ty = ir.ArrayType(element, len(bits))
        memory = ir.GlobalVariable(e.module, ty, e.module.get_unique_name("table"))
        memory.initializer = ir.Constant(ty, bits)
        memory.linkage = "internal"
        memory.global_constant = True
        memory.type = PTR  # llvmlite remembers what it points to, and compares that
        return Table(memory, values.dtype, e.constant(len(bits), INDEX), None)

    def _offset(self, length: Value) -> Value:
        return self.e.op("mul", [self.lane, length], INDEX, lambda b, p, q: b.mul(p, q))

    def read(self, table: Table, index: Value) -> Value:
        """An entry; the first or the last one outside the table, 0 if it is empty."""
        e = self.e
        zero, one = e.constant(0, INDEX), e.constant(1, INDEX)
        last = e.op("sub", [table.length, one], INDEX, lambda b, p, q: b.sub(p, q))

        def clamp(b: ir.IRBuilder, i: ir.Value, end: ir.Value, none: ir.Value) -> ir.Value:
            i = b.select(b.icmp_signed("<", i, end), i, end)
            return b.select(b.icmp_signed("<", i, none), none, i)

        place = e.op("clamp", [convert(e, index, INDEX), last, zero], INDEX, clamp)
        if self._in_vectors(table, place):
            return self._from_memory(Value(self._load_side_by_side(table, place), table.dtype, False, e.level))
        place = self._place(table, place)
        filled = e.op("gt", [table.length, zero], np.dtype(np.bool_), lambda b, p, q: b.icmp_signed(">", p, q))

        def gather(b: ir.IRBuilder, i: ir.Value, some: ir.Value) -> ir.Value:
            return self._gather(b, table.base, table.dtype, i, some)

        # a written table may hold something else the next time: such a read stays where it is
        if table.storage is None:
            here = e.op(("read", id(table.base)), [place, filled], table.dtype, gather)
        else:
            here = Value(gather(e.builder, e.spread(place), e.spread(filled)), table.dtype, False, e.level)
        return self._from_memory(here)

    def _place(self, table: Table, index: Value) -> Value:
        """Where an entry lies, in entries from the table's base."""
        e = self.e
        if table.stride is not None:
            index = e.op("mul", [index, table.stride], INDEX, lambda b, p, q: b.mul(p, q))
        if table.offset is None:
            return index
        return e.op("add", [index, table.offset], INDEX, lambda b, p, q: b.add(p, q))

    def _in_vectors(self, table: Table, index: Value) -> bool:
        """Whether the entries of a group's lanes at an index are one vector."""
        return table.scratch and index.uniform and bool(self.e.width)

    def _side_by_side(self, table: Table, index: Value) -> ir.Value:
        """The address of the entries of all lanes at one index."""
        b = self.e.builder
        place = b.mul(index.ir, ir.Constant(I64, self.e.width))
        return b.gep(table.base, [place], source_etype=memory_type(table.dtype))

    def _load_side_by_side(self, table: Table, index: Value) -> ir.Value:
        vector = ir.VectorType(memory_type(table.dtype), self.e.width)
        return self.e.builder.load(self._side_by_side(table, index), align=element_size(table.dtype), typ=vector)

    def _gather(self, b: ir.IRBuilder, base: ir.Value, dtype: np.dtype, place: ir.Value, some: ir.Value) -> ir.Value:
        element = memory_type(dtype)
        if not isinstance(place.type, ir.VectorType):
            # an empty table has no memory behind it: read a place that always exists instead
            address = b.gep(base, [place], source_etype=element)
            return b.select(
                some, b.load(b.select(some, address, self._nothing()), typ=element), ir.Constant(element, 0)
            )
        pointers = b.gep(base, [place], source_etype=element)
        # llvmlite gives a vector index a scalar result type; the instruction itself yields a vector of pointers
        width = self.e.width
        vector, addresses = ir.VectorType(element, width), ir.VectorType(PTR, width)
        pointers.type = addresses
        f = self.e.intrinsic(
            f"llvm.masked.gather.{suffix(vector)}.v{width}p0",
            vector,
            [addresses, I32, ir.VectorType(I1, width), vector],
        )
        return b.call(f, [pointers, ir.Constant(I32, element_size(dtype)), some, ir.Constant(vector, None)])

    def _nothing(self) -> ir.Value:
        if self.nothing is not None:
            return self.nothing
        found = self.e.module.globals.get("nothing")
        if found is None:
            found = ir.GlobalVariable(self.e.module, I64, "nothing")
            found.initializer = ir.Constant(I64, 0)
            found.linkage = "internal"
            found.global_constant = True
        return found

    def write(self, table: Table, index: Value, value: Value) -> None:
        """Replace an entry; nothing happens outside the table, or in lanes that do not take part."""
        e = self.e
        assert table.offset is not None

        def inside(b: ir.IRBuilder, i: ir.Value, end: ir.Value, none: ir.Value) -> ir.Value:
            return b.and_(b.icmp_signed("<", i, end), b.icmp_signed(">=", i, none))

        index = convert(e, index, INDEX)
        ok = e.op("inside", [index, table.length, e.constant(0, INDEX)], np.dtype(np.bool_), inside)
        mask = e.masked(e.spread(ok))
        if self._in_vectors(table, index):
            # outside the table nothing is stored, so its address does not matter
            self._masked_store(self._to_memory(value), self._side_by_side(table, index), mask)
        else:
            self._scatter(table.base, value, self._place(table, index), mask)

    def _scatter(self, base: ir.Value, value: Value, place: Value, mask: ir.Value) -> None:
        e, element = self.e, memory_type(value.dtype)
        number = self._to_memory(value)
        pointers = e.builder.gep(base, [e.spread(place)], source_etype=element)
        if not e.width:
            put, after = e.block("put"), e.block("next")
            e.builder.cbranch(mask, put, after)
            e.builder.position_at_end(put)
            e.builder.store(number, pointers)
            e.builder.branch(after)
            e.builder.position_at_end(after)
            return
        pointers.type = ir.VectorType(PTR, e.width)
        f = e.intrinsic(
            f"llvm.masked.scatter.{suffix(number.type)}.v{e.width}p0",
            ir.VoidType(),
            [number.type, pointers.type, I32, mask.type],
        )
        e.builder.call(f, [number, pointers, ir.Constant(I32, element_size(value.dtype)), mask])

    # ------------------------------------------------------------------------------------------------ whole tables

    def make(self, length: Value, dtype: np.dtype, scratch: bool = False) -> Table:
        """A table to write to; what it holds is not said yet. In scratch the lanes of a group lie side by side."""
        e = self.e
        slot = e.scopes[0].builder.alloca(PTR, name=f"storage{len(self._slots)}")
        inner, e.scopes[3:] = e.scopes[3:], []  # the group's own scope: all that follows can see what is written there
        # where the storage lies is known only at the end (an output, or memory of its own), so its address is read
        # from a slot that `place` fills; LLVM turns the slot into a register
        base = e.builder.load(slot, typ=PTR)
        number = len(self._slots)
        if scratch:
            stride, offset = (e.constant(e.width, INDEX), self._in_group) if e.width else (None, e.constant(0, INDEX))
            table = Table(base, dtype, length, offset, number, stride=stride, scratch=True)
        else:
            table = dataclasses.replace(self._own(base, dtype, length), storage=number)
        e.scopes += inner
        self._slots.append(slot)
        self._tables.append(table)
        return table

    def fill(self, table: Table, value: Value) -> Table:
        """Give every entry the same value."""
        count(self.e, table.length, lambda i: self.write(table, i, value))
        return self.versions.made(table)

    def copy(self, source: Table, target: Table) -> None:
        """Copy every entry."""
        count(self.e, source.length, lambda i: self.write(target, i, self.read(source, i)))

    def copied(self, table: Table, eqn: Any) -> Table:
        """A table of its own that holds the same."""
        self.versions.used(table, eqn)
        target = self.make(table.length, table.dtype)
        self.copy(table, target)
        return self.versions.made(target)

    def place(
        self, results: Sequence[Operand], outs: Sequence[ir.Value], group: ir.IRBuilder, workspace: ir.Value | None
    ) -> ir.Value | None:
        """Give every storage its memory: the output it becomes, or (rarely) memory of its own.

        Args:
            results: of the program.
            outs: the memory of each.
            group: stands where a group of lanes begins.
            workspace: of a GPU's kernel, `workspace_bytes` long. On a processor the kernel allocates enough for one group.

        Returns:
            What is to be freed in the end.
        """
        frame = self.e.scopes[0].builder
        owners: dict[int, ir.Value] = {}
        for result, out in zip(results, outs, strict=True):
            if not isinstance(result, Table):
                continue
            if result.storage is not None and result.storage not in owners and not result.scratch:
                owners[result.storage] = out
            else:
                self.copy(result, self.table(out, result.dtype, result.length, shared=False))
        for storage, out in owners.items():
            frame.store(out, self._slots[storage])
        rest = [number for number in range(len(self._slots)) if number not in owners]
        if workspace is not None:
            self._share_out(workspace, rest)
            return None
        return self._allocate(rest, group) if rest else None

    def _share_out(self, workspace: ir.Value, storages: Sequence[int]) -> None:
        """Of a GPU's memory: scratch belongs to the thread, the others are parts of the workspace."""
        frame, extents, used, local = self.e.scopes[0].builder, [], ir.Constant(I64, 0), 0
        for number in storages:
            table = self._tables[number]
            if table.scratch:
                entries = self._extent(table.length).factor
                local += entries * element_size(table.dtype)
                base = frame.alloca(ir.ArrayType(memory_type(table.dtype), entries))
            else:
                base = frame.gep(workspace, [used], source_etype=ir.IntType(8))
                bytes_each = frame.mul(self.lanes.ir, ir.Constant(I64, WORD))
                used = frame.add(used, frame.mul(table.length.ir, bytes_each))
                extents.append(self._extent(table.length))
            frame.store(base, self._slots[number])
        if local > THREAD:
            raise LoweringError(
                f"scratch tables of a kernel on a GPU take at most {THREAD} bytes a lane, but these take {local}: "
                "tables made by `full_like` may be longer"
            )
        self.workspace = tuple(extents)

    def _allocate(self, storages: Sequence[int], group: ir.IRBuilder) -> ir.Value:
        e, frame = self.e, self.e.scopes[0].builder
        size, offsets = ir.Constant(I64, 0), []
        for number in storages:
            offsets.append(size)
            # a word an entry, and no length of a table that exists makes this overflow
            size = frame.add(size, frame.mul(self._tables[number].length.ir, ir.Constant(I64, WORD * e.width)))
        # a size of 0 might be answered with null; room to begin at a cache line, so that no vector lies across two
        memory = frame.call(e.intrinsic("malloc", PTR, [I64]), [frame.add(size, ir.Constant(I64, LINE))])
        refused, granted = e.block("refused"), e.block("granted")
        frame.cbranch(frame.icmp_unsigned("==", memory, ir.Constant(PTR, None)), refused, granted)
        ir.IRBuilder(refused).ret(ir.Constant(I32, OUT_OF_MEMORY))
        frame.position_at_end(granted)
        beyond = frame.and_(frame.ptrtoint(memory, I64), ir.Constant(I64, LINE - 1))
        first = frame.gep(memory, [frame.sub(ir.Constant(I64, LINE), beyond)], source_etype=ir.IntType(8))
        for number, offset in zip(storages, offsets, strict=True):
            table = self._tables[number]
            base = group.gep(first, [offset], source_etype=ir.IntType(8))
            if not table.scratch:
                # entries are numbered by lane, as in an output, so that both kinds of storage are one
                before = group.neg(group.mul(self.start, table.length.ir))
                base = group.gep(base, [before], source_etype=memory_type(table.dtype))
            group.store(base, self._slots[number])
        return memory

    def free(self, memory: ir.Value) -> None:
        """Give back what `place` allocated."""
        self.e.scopes[0].builder.call(self.e.intrinsic("free", ir.VoidType(), [PTR]), [memory])


def workspace_bytes(extents: Sequence[Extent], lanes: int, lengths: Sequence[int]) -> int:
    """How large a GPU kernel's workspace must be.

    Args:
        extents: from `Memory.workspace`.
        lanes: of the call.
        lengths: of the inputs' tables, by input (any number for a scalar).
    """
    entries = (x.factor * (1 if x.argument is None else lengths[x.argument]) for x in extents)
    return max(WORD, WORD * lanes * sum(entries))  # an empty table is read there too
