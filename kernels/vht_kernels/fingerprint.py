"""A digest of a jaxpr: equal digests mean equal kernels, in this process and the next."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import os
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from typing import Any

import jax
import jaxlib.version
import numpy as np
from jax.extend import core as jex

from vht_kernels import abi
from vht_kernels.garbage import paused
from vht_kernels.lower import Argument
from vht_kernels.rules import RULES
from vht_kernels.uniform import nested_jaxpr, scan_counts


@paused()
def fingerprint(jaxpr: jex.Jaxpr, arguments: Sequence[Argument], settings: str) -> str:
    """Digest of a program, how its inputs lie in memory, the settings, and the versions of everything that compiles it.

    The lengths of tables are left out: a kernel reads them when it runs.
    """
    digest = hashlib.sha256()
    for part in (settings, compiler_version(), repr(arguments), _Walk().jaxpr(jaxpr)):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


@functools.cache
def compiler_version() -> str:
    """Digest of this package's own source, with the versions of jax and of XLA's interface."""
    digest = hashlib.sha256()
    for content in _sources(importlib.resources.files("vht_kernels")):
        digest.update(content)
    return f"{digest.hexdigest()} jax {jax.__version__} jaxlib {jaxlib.version.__version__} ffi {abi.version()}"


def _sources(package: Traversable) -> list[bytes]:
    """What the package is made of, also in a zip file or compiled; if nothing can be seen, what is never the same again."""
    by_name = sorted(package.iterdir(), key=lambda entry: entry.name)
    for suffix in (".py", ".pyc"):
        found = [entry.read_bytes() for entry in by_name if entry.name.endswith(suffix)]
        if found:
            return found
    return [os.urandom(32)]


@functools.cache
def _dtype(dtype: np.dtype) -> str:
    # NumPy works a name out anew each time, which was a third of the time here
    return str(dtype)


class _Walk:
    """Sub-jaxprs are shared (a jitted function called twice is one object), so each is digested once."""

    def __init__(self) -> None:
        self.known: dict[int, str] = {}

    def jaxpr(self, jaxpr: jex.Jaxpr) -> str:
        found = self.known.get(id(jaxpr))
        if found is None:
            found = self.known[id(jaxpr)] = hashlib.sha256("\n".join(self._lines(jaxpr)).encode()).hexdigest()
        return found

    def _lines(self, jaxpr: jex.Jaxpr) -> list[str]:
        names: dict[Any, int] = {}

        def name(atom: Any) -> str:
            if isinstance(atom, jex.Literal):
                aval: Any = atom.aval
                value = np.asarray(atom.val, dtype=aval.dtype)
                return f"{_dtype(aval.dtype)}:{value.tobytes().hex()}"
            return str(names.setdefault(atom, len(names)))

        def typed(variable: Any) -> str:
            aval = variable.aval
            return f"{name(variable)}:{_dtype(aval.dtype)}{'*' if len(aval.shape) == 1 else aval.shape}"

        lines = [" ".join(map(typed, [*jaxpr.constvars, *jaxpr.invars]))]
        for eqn in jaxpr.eqns:
            outs = " ".join(map(typed, eqn.outvars))
            lines.append(f"{outs}={eqn.primitive.name}[{self._params(eqn)}]{' '.join(map(name, eqn.invars))}")
        lines.append(" ".join(map(name, jaxpr.outvars)))
        return lines

    def _params(self, eqn: Any) -> str:
        rule = RULES.get(eqn.primitive.name)
        if rule is not None:
            return ",".join(f"{p}={eqn.params[p]}" for p in rule.params)
        p = eqn.params
        match eqn.primitive.name:
            case "while":
                inner, numbers = (p["cond_jaxpr"], p["body_jaxpr"]), (p["cond_nconsts"], p["body_nconsts"])
            case "scan":
                inner, numbers = (p["jaxpr"],), (p["length"], p["reverse"], *scan_counts(eqn))
            case "cond":
                inner, numbers = tuple(p["branches"]), ()
            case "table_full_like":
                inner, numbers = (), (p["repeat"],)
            case "table_scratch":
                inner, numbers = (), (p["size"],)
            case _:
                nested = nested_jaxpr(eqn)
                inner, numbers = (() if nested is None else (nested,)), ()
        consts = [(str(c.dtype), np.asarray(c).tobytes().hex()) for closed in inner for c in closed.consts]
        return f"{[self.jaxpr(c.jaxpr) for c in inner]}{numbers}{consts}"
