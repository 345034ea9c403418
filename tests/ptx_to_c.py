"""One PTX function written as C, a statement for an instruction.

What an instruction means stands in ``ptx_runtime.c``, as a C function of its name. An unknown instruction, modifier or
register width is refused by name, never skipped.

Source: NVIDIA, Parallel Thread Execution ISA, chapter "Instruction Set".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ptx_text import Function, Statement, UnknownPTX, Variable, parameter, split

SPACES = {"": 0, "global": 1, "const": 2, "local": 3}
SPECIAL = {"%tid.x": "tid", "%ntid.x": "ntid", "%ctaid.x": "ctaid", "%nctaid.x": "nctaid"}
PREDICATE = 1  # bits of a predicate register, which is a byte in C
UNSIGNED_NAMES = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}

# Opcode; the C function; the bits of result and operands (w: of the opcode's type, W: twice as many, 4: 32, p: predicate,
# t: the thread and the line in front, for what can fail)
RULES: list[tuple[str, str, str]] = [
    (r"(add|sub|mul)(?:\.rn)?\.(f32|f64)", r"\1_\2", "www"),
    (r"(div)\.rn\.(f32|f64)", r"\1_\2", "www"),
    (r"(sqrt|rcp)\.rn\.(f32|f64)", r"\1_\2", "ww"),
    (r"(fma)\.rn\.(f32|f64)", r"\1_\2", "wwww"),
    (r"(neg|abs)\.(f32|f64|s16|s32|s64)", r"\1_\2", "ww"),
    (r"(min|max|copysign)\.(f32|f64)", r"\1_\2", "www"),
    (r"(min|max)\.NaN\.(f32)", r"\1_nan_\2", "www"),
    (r"(add|sub)\.[us](16|32|64)", r"\1_b\2", "www"),
    (r"mul\.lo\.[us](16|32|64)", r"mul_lo_b\1", "www"),
    (r"mad\.lo\.[us](16|32|64)", r"mad_lo_b\1", "wwww"),
    (r"mul\.hi\.([us](?:16|32|64))", r"mul_hi_\1", "www"),
    (r"mul\.wide\.([us](?:16|32))", r"mul_wide_\1", "Www"),
    (r"mad\.wide\.([us](?:16|32))", r"mad_wide_\1", "WwwW"),
    (r"(min|max)\.([us](?:16|32|64))", r"\1_\2", "www"),
    (r"(div|rem)\.([us](?:16|32|64))", r"\1_\2", "wwwt"),
    (r"(and|or|xor)\.(pred|b16|b32|b64)", r"\1_\2", "www"),
    (r"not\.(pred|b16|b32|b64)", r"not_\1", "ww"),
    (r"shl\.(b16|b32|b64)", r"shl_\1", "ww4"),
    (r"shr\.[bu](16|32|64)", r"shr_u\1", "ww4"),
    (r"shr\.s(16|32|64)", r"shr_s\1", "ww4"),
    (r"selp\.[busf](16|32|64)", r"selp_b\1", "wwwp"),
    (r"(popc|clz)\.(b32|b64)", r"\1_\2", "4w"),
    (r"brev\.(b32|b64)", r"brev_\1", "ww"),
    (r"bfe\.([us](?:32|64))", r"bfe_\1", "ww44"),
    (r"bfi\.(b32|b64)", r"bfi_\1", "www44"),
    (r"prmt\.b32", "prmt_b32", "wwww"),
    (r"lop3\.b32", "lop3_b32", "wwwww"),
    (r"shf\.([lr])\.(wrap|clamp)\.b32", r"shf_\1_\2_b32", "wwww"),
]


def bits_of(type_: str) -> int:
    return PREDICATE if type_ == "pred" else int(type_[1:])


def c_type(bits: int) -> str:
    return "u8" if bits == PREDICATE else f"u{bits}"


def c_name(name: str) -> str:
    return "x_" + re.sub(r"\W", lambda m: f"_{ord(m[0]):x}_", name)


class Writer:
    """Writes one function in C."""

    def __init__(
        self, function: Function, variables: Mapping[str, Variable], functions: Mapping[str, Function]
    ) -> None:
        self.function, self.variables, self.functions = function, variables, functions
        self.registers: dict[str, int] = {}
        self.depots: dict[str, str] = {}
        parameters = [*function.parameters, *([function.result] if function.result else [])]
        self.scopes: list[dict[str, int]] = [{p.name: p.size for p in parameters}]
        self.targets: dict[str, list[str]] = {}
        self.blocks: list[str] = []
        self.statement = Statement("", 0)
        self.declarations: list[str] = []
        for statement in function.body:  # lists of targets may follow the branches that use them
            if m := re.fullmatch(r"\.branchtargets (.*)", statement.text):
                self.targets[self.blocks[-1]] = split(m[1])
            elif statement.text.endswith(":"):
                self.blocks.append(statement.text[:-1])

    def refuse(self, why: str) -> UnknownPTX:
        s = self.statement
        return UnknownPTX(f"Line {s.line} of `{self.function.name}`, `{s.text[:120]}`: {why}.")

    def prototype(self) -> str:
        f = self.function
        if f.kernel:
            return f"static void {c_name(f.name)}(Thread *t, const u8 *all)"
        parameters = [f"const u8 *{c_name(p.name)}" for p in f.parameters]
        result = [f"u8 *{c_name(f.result.name)}"] if f.result else []
        return f"static void {c_name(f.name)}({', '.join(['Thread *t', *result, *parameters])})"

    def written(self) -> str:
        f, lines = self.function, []
        for i, p in enumerate(f.parameters if f.kernel else ()):
            if p.size != 8:
                raise UnknownPTX(f"The kernel `{f.name}` takes `{p.name}` of {p.size} bytes, but 8 are known here.")
            self.declarations.append(f"const u8 *{c_name(p.name)} = all + {8 * i};")
        for self.statement in f.body:
            lines.append(self.line())
        # leaving gives local memory back
        inside = [*self.declarations, *lines, "done: t->top = top;"]
        return "\n".join([f"{self.prototype()} {{", "const u64 top = t->top;", *inside, "}"])

    # statements
    def line(self) -> str:
        text = self.statement.text
        if text == "{":
            self.scopes.append({})
            return "{"
        if text == "}":
            self.scopes.pop()
            return "}"
        if text.endswith(":"):
            return "" if text[:-1] in self.targets else f"{c_name(text[:-1])}: ;"
        if text.startswith("."):
            return self.directive(text)
        guard = re.fullmatch(r"@(!?)(%[\w]+) (.*)", text)
        if guard:
            return f"if ({guard[1]}{self.register(guard[2], PREDICATE)}) {{ {self.instruction(guard[3])} }}"
        return self.instruction(text)

    def directive(self, text: str) -> str:
        if m := re.fullmatch(r"\.reg \.(pred|[busf](?:16|32|64)) (.*)", text):
            for name in split(m[2]):
                many = re.fullmatch(r"(%[\w]+)<(\d+)>", name)
                for n in [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name]:
                    self.registers[n] = bits_of(m[1])
                    garbage = 1 if m[1] == "pred" else f"({c_type(bits_of(m[1]))})0xCBCBCBCBCBCBCBCBull"
                    self.declarations.append(f"{c_type(bits_of(m[1]))} {c_name(n)} = {garbage};")
            return ""
        if m := re.fullmatch(r"\.local (?:\.align (\d+) )?\.b8 ([\w$]+)\[(\d+)\]", text):
            self.depots[m[2]] = c_name(m[2])
            self.declarations.append(f"const u64 {c_name(m[2])} = depot(t, {m[3]}, {m[1] or 1});")
            return ""
        if text.startswith(".param"):
            p = parameter(text)
            self.scopes[-1][p.name] = p.size
            # begins as garbage, like a register
            return f"u8 {c_name(p.name)}[{p.size}]; memset({c_name(p.name)}, POISON, {p.size});"
        if text.startswith((".branchtargets", ".pragma", ".loc")):
            return ""
        raise self.refuse("this directive is not known")

    def instruction(self, text: str) -> str:
        opcode, _, rest = text.partition(" ")
        operands = split(rest)
        name, *modifiers = opcode.split(".")
        special = getattr(self, f"_{name}", None)
        if special is not None:
            return special(modifiers, operands)
        for pattern, function, shape in RULES:
            if m := re.fullmatch(pattern, opcode):
                return self.by_rule(bits_of(opcode.split(".")[-1]), m.expand(function), shape, operands)
        raise self.refuse("this instruction, or a modifier of it, is not known")

    def by_rule(self, width: int, function: str, shape: str, operands: Sequence[str]) -> str:
        widths = [{"w": width, "W": 2 * width, "4": 32, "p": PREDICATE}[s] for s in shape.removesuffix("t")]
        if len(operands) != len(widths):
            raise self.refuse(f"{len(widths)} operands were expected, but got {len(operands)}")
        first = ["t", str(self.statement.line)] if shape.endswith("t") else []
        values = [self.value(o, w) for o, w in zip(operands[1:], widths[1:], strict=True)]
        return f"{self.register(operands[0], widths[0])} = {function}({', '.join([*first, *values])});"

    # operands
    def register(self, name: str, bits: int, *, wider: bool = False) -> str:
        have = self.registers.get(name)
        if have is None:
            raise self.refuse(f"`{name}` is no register of this function")
        if have != bits and not (wider and have >= bits and PREDICATE not in (have, bits)):
            raise self.refuse(f"`{name}` has {have} bits where {bits} are meant")
        return c_name(name)

    def value(self, text: str, bits: int, *, wider: bool = False) -> str:
        """An operand as a C expression of unsigned type."""
        if text in SPECIAL:
            if bits != 32:
                raise self.refuse(f"`{text}` has 32 bits where {bits} are meant")
            return f"t->{SPECIAL[text]}"
        if text.startswith("%"):
            return f"({c_type(bits)}){self.register(text, bits, wider=wider)}"
        if m := re.fullmatch(r"0([dDfF])([0-9a-fA-F]+)", text):
            if bits != (64 if m[1] in "dD" else 32):
                raise self.refuse(f"the number `{text}` has another width than {bits} bits")
            return f"((u{bits})0x{m[2]}ull)"
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
            number = int(text.rstrip("U"), 0)
            if bits == PREDICATE:
                return str(int(number != 0))
            if not -(1 << (bits - 1)) <= number < 1 << bits:
                raise self.refuse(f"the number `{text}` does not fit in {bits} bits")
            return f"((u{bits}){number % (1 << bits)}ull)"
        raise self.refuse(f"the operand `{text}` is not understood")

    def symbol(self, name: str) -> str | None:
        """The address, within its state space, of a variable."""
        if name in self.depots:
            return f"((u64)(uintptr_t)t->local + {self.depots[name]} - shift_of(LOCAL))"
        if name in self.variables:
            return f"((u64)(uintptr_t){c_name(name)} - shift_of({self.variables[name].space.upper()}))"
        return None

    def address(self, text: str) -> str:
        m = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+)\s*)?\]", text)
        if not m:
            raise self.refuse(f"the address `{text}` is not understood")
        base = self.symbol(m[1]) or self.value(m[1], 64)
        return f"({base} + (u64){int(m[2] or 0)}ll)"

    def elements(self, text: str) -> list[str]:
        return split(text[1:-1]) if text.startswith("{") else [text]

    # instructions with a form of their own
    def _ld(self, modifiers: list[str], operands: list[str]) -> str:
        return self.access(modifiers, operands[0], operands[1], store=False)

    def _st(self, modifiers: list[str], operands: list[str]) -> str:
        return self.access(modifiers, operands[1], operands[0], store=True)

    def access(self, modifiers: list[str], registers: str, address: str, *, store: bool) -> str:
        *modifiers, type_ = modifiers
        space = next((m for m in modifiers if m in ("param", *SPACES)), "")
        count = next((int(m[1]) for m in modifiers if m in ("v2", "v4")), 1)
        known = {space, f"v{count}"} | (set() if store else {"nc"})
        if (
            set(modifiers) - known
            or not re.fullmatch("[busf](8|16|32|64)", type_)
            or ("nc" in modifiers) > (space == "global")
        ):
            raise self.refuse("a modifier is not known")
        names = self.elements(registers)
        if len(names) != count:
            raise self.refuse(f"{count} registers were expected, but got {len(names)}")
        bits, size = bits_of(type_), bits_of(type_) // 8
        number, lines = self.statement.line, []
        where = "" if space == "param" else self.address(address)
        for i, name in enumerate(names):
            if space == "param":
                place = self.parameter_place(address, i * size, size)
            else:
                # a vector is aligned as a whole
                alignment = size * count if i == 0 else size
                place = f"t, {SPACES[space]}, a + {i * size}, {size}, {alignment}, {number}"
            if store:
                value = self.value(name, bits if bits > 8 else 16, wider=True)
                call = f"put_parameter({place}, {value});" if space == "param" else f"store({place}, {value});"
                lines.append(call)
            elif name != "_":
                read = f"parameter({place})" if space == "param" else f"load({place}, {int('nc' in modifiers)})"
                have = self.registers.get(name, 0)
                target = self.register(name, bits if bits > 8 else 16, wider=True)
                lines.append(f"{target} = (u{have})extended({read}, {bits}, {int(type_[0] == 's')});")
        return f"{{ const u64 a = {where or 0}; {' '.join(lines)} }}"

    def parameter_place(self, text: str, offset: int, size: int) -> str:
        m = re.fullmatch(r"\[\s*([\w$]+)\s*(?:\+\s*(\d+)\s*)?\]", text)
        scope = next((s for s in reversed(self.scopes) if m and m[1] in s), None)
        if m is None or scope is None:
            raise self.refuse(f"`{text}` is no parameter")
        offset += int(m[2] or 0)
        if offset + size > scope[m[1]] or offset % size:
            raise self.refuse(f"`{text}` reaches outside the parameter's {scope[m[1]]} bytes, or lies askew in it")
        return f"{c_name(m[1])} + {offset}, {size}"

    def _mov(self, modifiers: list[str], operands: list[str]) -> str:
        if len(modifiers) != 1 or not re.fullmatch("pred|[busf](16|32|64)", modifiers[0]):
            raise self.refuse("a modifier is not known")
        bits = bits_of(modifiers[0])
        target, source = operands
        if target.startswith("{"):
            parts = self.elements(target)
            part = bits // len(parts)
            lines = [
                f"{self.register(p, part)} = ({c_type(part)})(a >> {i * part});"
                for i, p in enumerate(parts)
                if p != "_"
            ]
            return f"{{ const u64 a = {self.value(source, bits)}; {' '.join(lines)} }}"
        if source.startswith("{"):
            parts = self.elements(source)
            part = bits // len(parts)
            joined = " | ".join(f"(u64){self.value(p, part)} << {i * part}" for i, p in enumerate(parts))
            return f"{self.register(target, bits)} = (u{bits})({joined});"
        m = re.fullmatch(r"([\w$]+)(?:\+(\d+))?", source)
        place = self.symbol(m[1]) if m else None
        if m and place:
            return f"{self.register(target, 64)} = {place} + {m[2] or 0};"
        return f"{self.register(target, bits)} = {self.value(source, bits)};"

    def _cvta(self, modifiers: list[str], operands: list[str]) -> str:
        down = modifiers[0] == "to"
        space, *type_ = modifiers[down:]
        if type_ != ["u64"] or space not in SPACES:
            raise self.refuse("a modifier is not known")
        source = self.symbol(operands[1]) or self.value(operands[1], 64)
        return f"{self.register(operands[0], 64)} = {source} {'-' if down else '+'} shift_of({space.upper()});"

    def _setp(self, modifiers: list[str], operands: list[str]) -> str:
        comparison, *combination, type_ = modifiers
        bits, kind = bits_of(type_), type_[0]
        if not re.fullmatch("[bus](16|32|64)|f32|f64", type_) or combination not in ([], ["and"], ["or"], ["xor"]):
            raise self.refuse("a modifier is not known")
        if kind == "u":
            comparison = UNSIGNED_NAMES.get(comparison, comparison)
        known = {"eq", "ne"} if kind == "b" else {"eq", "ne", "lt", "le", "gt", "ge"}
        known |= {"equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"} if kind == "f" else set()
        if comparison not in known or len(operands) != 3 + len(combination):
            raise self.refuse("a modifier is not known")
        family = f"b{bits}" if comparison in ("eq", "ne") and kind != "f" else type_
        a, b = (self.value(o, bits) for o in operands[1:3])
        targets = operands[0].split("|")
        lines = []
        for name, found in zip(targets, ("c", "!c")[: len(targets)], strict=True):
            if combination:
                other = operands[3].removeprefix("!")
                negate = "!" if operands[3].startswith("!") else ""
                sign = {"and": "&", "or": "|", "xor": "^"}[combination[0]]
                found = f"{found} {sign} q"
                q = f"const u8 q = {negate}{self.register(other, PREDICATE)};"
            else:
                q = ""
            lines.append(f"{{ {q} {self.register(name.strip(), PREDICATE)} = {found}; }}")
        if len(targets) == 2 and combination and targets[0].strip() == operands[3].removeprefix("!"):
            raise self.refuse("the first result is also the predicate that combines, which is not known here")
        return f"{{ const u8 c = setp_{comparison}_{family}({a}, {b}); {' '.join(lines)} }}"

    def _cvt(self, modifiers: list[str], operands: list[str]) -> str:
        *modifiers, to, of = modifiers
        if any(not re.fullmatch("[usf](8|16|32|64)", t) or t in ("f8", "f16") for t in (to, of)):
            raise self.refuse("one of the types is not known")
        mode = next((m for m in modifiers if re.fullmatch("r[nzmp]i?", m)), "")
        saturate = "sat" in modifiers
        if len(modifiers) != bool(mode) + saturate:
            raise self.refuse("a modifier is not known")
        to_bits, of_bits = bits_of(to), bits_of(of)
        source = self.value(operands[1], max(of_bits, 16), wider=True)
        have = self.registers.get(operands[0], 0)
        target = self.register(operands[0], max(to_bits, 16), wider=True)
        if "f" not in (to[0], of[0]):
            a = f"extended({source}, {of_bits}, {int(of[0] == 's')})"
            if saturate:
                a = f"clamped({a}, {int(of[0] == 's')}, {to_bits}, {int(to[0] == 's')})"
            needed = ""
            result = f"extended({a}, {to_bits}, {int(to[0] == 's')})"
        elif to[0] == of[0]:
            a, needed = f"{of}_of({source})", None
            if mode.endswith("i") and to == of:
                a, needed = f"rounded({a}, '{mode[1]}')", mode
            elif to_bits < of_bits:
                needed = "rn"
            else:
                needed = ""
            result = f"b{to_bits}_of({f'saturated({a})' if saturate else a})"
        elif to[0] == "f":
            a = f"({of[0]}64)extended({source}, {of_bits}, {int(of[0] == 's')})"
            a, needed = f"({'double' if to == 'f64' else 'float'})({a})", "rn"
            result = f"b{to_bits}_of({f'saturated({a})' if saturate else a})"
        else:
            needed = mode if mode.endswith("i") else "rzi"
            narrow = f"to_integer({of}_of({source}), '{mode[1:2]}', {to_bits}, {int(to[0] == 's')}, {int(of == 'f64')})"
            result = f"extended({narrow}, {to_bits}, {int(to[0] == 's')})"
        if mode != needed:
            raise self.refuse(f"the rounding `{needed}` was expected, but got `{mode}`")
        return f"{target} = (u{have})({result});"

    def _call(self, modifiers: list[str], operands: list[str]) -> str:
        if modifiers not in ([], ["uni"]):
            raise self.refuse("a modifier is not known")
        results = split(operands.pop(0)[1:-1]) if operands[0].startswith("(") else []
        name, *rest = operands
        arguments = split(rest[0][1:-1]) if rest else []
        function = self.functions.get(name)
        if function is None or function.kernel:
            raise self.refuse(f"no function `{name}` is defined in this module")
        expected = [*([function.result] if function.result else []), *function.parameters]
        given = [*results, *arguments]
        sizes = [next((s[g] for s in reversed(self.scopes) if g in s), None) for g in given]
        if sizes != [p.size for p in expected]:
            raise self.refuse(f"parameters of {[p.size for p in expected]} bytes were expected, but got {sizes}")
        return f"{c_name(name)}({', '.join(['t', *map(c_name, given)])});"

    def _bra(self, modifiers: list[str], operands: list[str]) -> str:
        if modifiers not in ([], ["uni"]):
            raise self.refuse("a modifier is not known")
        return f"jump(t, {self.statement.line}); goto {c_name(operands[0])};"

    def _brx(self, modifiers: list[str], operands: list[str]) -> str:
        if modifiers not in (["idx"], ["idx", "uni"]) or operands[1] not in self.targets:
            raise self.refuse("a modifier or the list of targets is not known")
        number = self.statement.line
        cases = [f"case {i}: goto {c_name(label)};" for i, label in enumerate(self.targets[operands[1]])]
        index = self.value(operands[0], 32)
        return (
            f"jump(t, {number}); switch ({index}) "
            f"{{ {' '.join(cases)} default: fail(t, INDEX, {number}, {index}, 4); }}"
        )

    def _ret(self, modifiers: list[str], operands: list[str]) -> str:
        if modifiers not in ([], ["uni"]) or operands:
            raise self.refuse("a modifier is not known")
        return "goto done;"

    def _trap(self, modifiers: list[str], operands: list[str]) -> str:
        return f"fail(t, TRAP, {self.statement.line}, 0, 0);"
