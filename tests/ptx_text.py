"""PTX text taken apart: variables, functions, and the statements of their bodies.

Source: NVIDIA, Parallel Thread Execution ISA, chapters "Syntax" and "State Spaces, Types, and Variables".
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator


class UnknownPTX(Exception):
    """PTX that is not understood here."""


def split(text: str) -> list[str]:
    """Operands, at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [*parts, text[start:].strip()] if text.strip() else []


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement of a body: ``{``, ``}``, a label with its colon, or what ends in a semicolon."""

    text: str
    line: int


@dataclasses.dataclass(frozen=True)
class Parameter:
    name: str
    size: int  # bytes


@dataclasses.dataclass(frozen=True)
class Function:
    name: str
    kernel: bool
    result: Parameter | None
    parameters: tuple[Parameter, ...]
    most_threads: int | None  # that a block may have
    body: tuple[Statement, ...]


@dataclasses.dataclass(frozen=True)
class Variable:
    name: str
    space: str
    alignment: int
    data: bytes


class Reader:
    """Splits PTX text into variables and functions."""

    def __init__(self, text: str) -> None:
        self.text = re.sub(r"//[^\n]*", "", text)
        self.text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), self.text, flags=re.S)
        self.at = 0
        self.functions: list[Function] = []
        self.variables: list[Variable] = []
        while self._skip_space():
            self._top_level()

    def _skip_space(self) -> bool:
        self.at += len(self.text[self.at :]) - len(self.text[self.at :].lstrip())
        return self.at < len(self.text)

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def _top_level(self) -> None:
        if m := re.compile(r"\.(version|target|address_size)[^\n]*").match(self.text, self.at):
            self.at = m.end()
        elif m := re.compile(r"(?:\.(?:visible|weak)\s+)?\.(entry|func)\b([^;{]*)").match(self.text, self.at):
            self._function(m)
        elif m := re.compile(r"(?:\.(?:visible|weak)\s+)?\.(global|const)\b([^;]*);").match(self.text, self.at):
            self._variable(m)
        else:
            first = self.text[self.at :].split("\n", 1)[0]
            raise UnknownPTX(f"Line {self.line}: `{first[:80]}` is no declaration known here.")

    def _variable(self, match: re.Match[str]) -> None:
        head, _, values = match[2].partition("=")
        m = re.fullmatch(r"\s*(?:\.align\s+(\d+)\s+)?\.([busf])(8|16|32|64)\s+([\w$]+)\s*(?:\[(\d*)\])?\s*", head)
        if not m:
            raise UnknownPTX(f"Line {self.line}: the variable `{head.strip()[:80]}` is not understood.")
        size = int(m[3]) // 8
        numbers = split(values.strip().removeprefix("{").removesuffix("}"))
        count = int(m[5]) if m[5] else max(len(numbers), 1)
        try:
            data = b"".join((int(n, 0) % (1 << 8 * size)).to_bytes(size, "little") for n in numbers)
        except ValueError:
            raise UnknownPTX(f"Line {self.line}: `{m[4]}` begins as `{values.strip()[:60]}`, not numbers.") from None
        self.variables.append(Variable(m[4], match[1], int(m[1] or size), data.ljust(size * count, b"\0")))
        self.at = match.end()

    def _function(self, match: re.Match[str]) -> None:
        kernel = match[1] == "entry"
        m = re.fullmatch(r"\s*(\([^)]*\))?\s*([\w$]+)\s*(\([^)]*\))?(.*)", match[2], flags=re.S)
        if not m:
            raise UnknownPTX(f"Line {self.line}: the function `{match[2].strip()[:80]}` is not understood.")
        limits = re.sub(r"\.(minnctapersm|maxnreg)\s+\d+|\.noreturn", "", m[4])
        threads = re.search(r"\.maxntid\s+([\d\s,]+)", limits)
        if re.sub(r"\.maxntid\s+[\d\s,]+", "", limits).strip():
            raise UnknownPTX(f"Line {self.line}: `{m[4].strip()}` of the function `{m[2]}` is not known.")
        results = [parameter(p) for p in split((m[1] or "()")[1:-1])]
        parameters = tuple(parameter(p) for p in split((m[3] or "()")[1:-1]))
        most = math.prod(int(n) for n in threads[1].split(",")) if threads else None
        self.at = match.end()
        if self.text[self.at] == ";":  # a declaration of what follows
            self.at += 1
            return
        self.at += 1
        body = tuple(self._body())
        self.functions.append(Function(m[2], kernel, results[0] if results else None, parameters, most, body))

    def _body(self) -> Iterator[Statement]:
        depth, line = 1, self.line
        label, start = re.compile(r"[\w$%]+\s*:(?!:)"), self.at
        while True:
            self._skip_space()
            line += self.text.count("\n", start, self.at)
            start = self.at
            c = self.text[self.at]
            if c in "{}":
                depth += 1 if c == "{" else -1
                self.at += 1
                if depth == 0:
                    return
                yield Statement(c, line)
            elif m := label.match(self.text, self.at):
                self.at = m.end()
                yield Statement(re.sub(r"\s", "", m[0]), line)
            else:
                self.at = self.text.index(";", self.at) + 1
                yield Statement(" ".join(self.text[start : self.at - 1].split()), line)


def parameter(text: str) -> Parameter:
    """``.param .align 8 .b8 name[24]``, ``.param .u64 .ptr .global .align 8 name`` and plainer ones."""
    m = re.fullmatch(
        r"\.param\s+(?:\.align\s+\d+\s+)?\.[busf](8|16|32|64)(?:\s+\.ptr(?:\s+\.(?:global|const|local))?"
        r"(?:\s+\.align\s+\d+)?)?\s+([\w$]+)\s*(?:\[(\d+)\])?",
        text.strip(),
    )
    if not m:
        raise UnknownPTX(f"The parameter `{text.strip()}` is not understood.")
    return Parameter(m[2], int(m[1]) // 8 * int(m[3] or 1))
