"""Which products and sums round once: decided in the program's text, before LLVM sees it.

LLVM fuses what may be fused (``contract``) last, block by block, after its passes have copied code: of one sum the copy in a
branch may round once and the copy beside it twice. Which of them a lane gets can depend on whether another lane took the
branch. A fused product and sum written as one operation is the same number wherever it is copied to.
"""

from __future__ import annotations

import collections
import re
from typing import NamedTuple

_NAME = re.compile(r'%"[^"]*"')
# a number for all lanes, or a vector of them; an operand may be a vector written out
_TYPE = r"<\d+ x (?:double|float)>|double|float"
_OPERAND = r'\s*(%"[^"]*"|<[^>]*>|[^\s,]+)'
_MAY_FUSE = re.compile(rf'  (%"[^"]*") = (fmul|fadd|fsub) contract ({_TYPE}){_OPERAND},{_OPERAND}')


class _Product(NamedTuple):
    line: int
    block: int
    factors: tuple[str, str]


def fused(text: str) -> str:
    """LLVM IR, as llvmlite writes it, with nothing left open: no instruction is ``contract`` any more.

    A sum, or a difference, takes in a product that is used for nothing else and stands in the same block. Processors that
    cannot multiply and add at once do both one after the other, everywhere.
    """
    head, *functions = re.split(r"^(?=define )", text, flags=re.M)
    types: set[str] = set()
    functions = [_fused_function(function, types) for function in functions]
    declared = "".join(f"declare {ty} {_operation(ty)}({ty}, {ty}, {ty})\n" for ty in sorted(types))
    return "".join([head, *functions]) + declared


def _fused_function(text: str, types: set[str]) -> str:
    if " contract " not in text:
        return text
    lines = text.split("\n")
    # each name is read once more than it is used: where it is defined
    uses = collections.Counter(_NAME.findall(text))
    products: dict[str, _Product] = {}
    block = 0
    for number, line in enumerate(lines):
        if not line.startswith("  "):
            block = number
            continue
        found = _MAY_FUSE.fullmatch(line)
        if found is None:
            continue
        name, operation, ty, *operands = found.groups()
        lines[number] = line.replace(" contract ", " ", 1)
        if operation == "fmul":
            if uses[name] == 2:
                products[name] = _Product(number, block, (operands[0], operands[1]))
            continue
        for place, operand in enumerate(operands):
            product = products.get(operand)
            if product is None or product.block != block:
                continue
            x, y, z = *product.factors, operands[1 - place]
            before = ""
            if operation == "fsub":
                negated = f'%"minus{name[1:].strip(chr(34))}"'
                before = f"  {negated} = fneg {ty} {z if place == 0 else x}\n"
                x, z = (x, negated) if place == 0 else (negated, z)
            lines[product.line] = ""
            lines[number] = f"{before}  {name} = call {ty} {_operation(ty)}({ty} {x}, {ty} {y}, {ty} {z})"
            types.add(ty)
            break
    return "\n".join(lines)


def _operation(ty: str) -> str:
    suffix = re.sub(r"<(\d+) x (\w+)>", r"v\1\2", ty).replace("double", "f64").replace("float", "f32")
    return f'@"llvm.fmuladd.{suffix}"'
