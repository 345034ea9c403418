"""Where the fields of XLA's FFI structures lie, read from the C header that the installed jaxlib ships.

The handler of a kernel is written in LLVM IR and reads XLA's call frame by byte offsets. Computing them from the header in
use means that a reordered or inserted field changes the kernel (and its cache key) instead of breaking it.
"""

from __future__ import annotations

import functools
import pathlib
import re

import jax.ffi

_WORD = 8  # pointers, size_t, int64_t
_INT = 4  # int, enums


@functools.cache
def header() -> str:
    """The text of ``xla/ffi/api/c_api.h``."""
    return pathlib.Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h").read_text()


@functools.cache
def version() -> tuple[int, int]:
    """Major and minor number of the FFI interface."""
    numbers = (re.search(rf"#define XLA_FFI_API_{part}\s+(\d+)", header()) for part in ("MAJOR", "MINOR"))
    major, minor = (int(found.group(1)) for found in numbers if found is not None)
    return major, minor


@functools.cache
def layout(struct: str) -> tuple[dict[str, int], int]:
    """Offsets of a structure's fields, and its size, in bytes, as a 64-bit C compiler lays it out.

    Raises:
        LookupError: if the header knows no such structure.
    """
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", header(), flags=re.S)
    found = re.search(rf"struct {struct} \{{(.*?)\n\}}", text, flags=re.S)
    if found is None:
        raise LookupError(f"xla/ffi/api/c_api.h declares no struct {struct}.")
    offsets: dict[str, int] = {}
    end = 0
    for declaration in found.group(1).split(";"):
        words = declaration.strip()
        if not words:
            continue
        name, size = _field(words, text)
        align = min(size, _WORD)
        end = -(-end // align) * align
        offsets[name] = end
        end += size
    return offsets, -(-end // _WORD) * _WORD


def pointed_to(struct: str, field: str) -> str:
    """The structure that a field points to: some were renamed and kept their fields.

    Raises:
        LookupError: if the header knows no such structure, or it has no such field.
    """
    found = re.search(rf"struct {struct} \{{[^}}]*?\b(\w+)\s*\*\s*{field};", header(), flags=re.S)
    if found is None:
        raise LookupError(f"xla/ffi/api/c_api.h declares no pointer {field} in a struct {struct}.")
    return found.group(1)


def _field(declaration: str, text: str) -> tuple[str, int]:
    api = re.fullmatch(r"_XLA_FFI_API_STRUCT_FIELD\((\w+)\)", declaration)
    if api is not None:
        return api.group(1), _WORD
    function = re.search(r"\(\*(\w+)\)", declaration)
    if function is not None:
        return function.group(1), _WORD
    *kind, name = declaration.replace("*", " * ").split()
    if "*" in kind or kind[-1] in ("size_t", "int64_t", "uint64_t"):
        return name, _WORD
    if kind[-1] in ("int", "int32_t", "uint32_t") or re.search(rf"\}} {kind[-1]};", text.replace("typedef struct", "")):
        is_enum = re.search(rf"typedef enum[^}}]*\}} {kind[-1]};", text) is not None
        if is_enum or kind[-1] in ("int", "int32_t", "uint32_t"):
            return name, _INT
    if re.search(rf"typedef uint32_t {kind[-1]};", text):
        return name, _INT
    return name, layout(kind[-1])[1]
