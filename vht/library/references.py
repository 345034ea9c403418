"""The papers behind models: one file of BibTeX entries."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterable
from typing import Any

from vht.model import Organ, parameters

# what LaTeX writes as a command before a letter; the accent itself is left out
_ACCENT = re.compile(r"""\\['`^"~=.uvHtcdbr]\s*\{?\\?(\w)\}?""")


@functools.cache
def _entries() -> dict[str, str]:
    text = importlib.resources.files("vht.organs").joinpath("references.bib").read_text("utf-8")
    return {key: entry for entry, key in re.findall(r"^(@\w+\{\s*([^,\s]+)\s*,.*?^\})", text, re.MULTILINE | re.DOTALL)}


def bibtex(model: Organ | type[Organ]) -> dict[str, str]:
    """BibTeX entries of a model by key: its paper and the sources of its parameters; a body's organs' too."""
    # a source is a key, or says more: "hovorka2004, Table 1"
    said = " ".join([*_papers(model), *(v.source for v in parameters(model).values() if v.source)])
    wanted = set(re.findall(r"\w+", said))
    return {key: entry for key, entry in _entries().items() if key in wanted}


def cited(model: Organ | type[Organ]) -> str:
    """A model's papers as a text cites them: ``Regazzoni et al. 2022``; those of its organs if it is a body."""
    return ", ".join(dict.fromkeys(_short(key) for key in _papers(model)))


def _papers(model: Any) -> Iterable[str]:
    if model.citation:
        yield model.citation
    parts = getattr(model, "parts", None)
    for organ in parts.organs.values() if parts is not None else ():
        yield from _papers(type(organ))


def _short(key: str) -> str:
    entry = _entries().get(key)
    if entry is None:
        return key
    authors = re.search(r"author\s*=\s*\{(.*?)\}\s*,?\s*$", entry, re.MULTILINE)
    year = re.search(r"year\s*=\s*\{?(\d{4})", entry)
    names = [name.strip() for name in re.split(r"\s+and\s+", authors[1])] if authors else [key]
    last = [_ACCENT.sub(r"\1", name.split(",")[0]).strip("{}") for name in names]
    said = last[0] if len(last) == 1 else " and ".join(last) if len(last) == 2 else f"{last[0]} et al."
    return f"{said} {year[1]}" if year else said
