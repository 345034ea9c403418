"""Which values of a jaxpr are the same in every lane, and which jaxprs stand inside an equation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.extend import core as jex

# Which parameter holds the jaxpr that a call runs, operands in and results out. Other primitives have jaxprs too
# (`reduce`, `custom_linear_solve`) that mean something else.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}


def nested_jaxpr(eqn: Any) -> jex.ClosedJaxpr | None:
    """The jaxpr that a call-like equation (jit, custom_jvp, remat, ...) runs, None if it is no such equation."""
    name = _CALLS.get(eqn.primitive.name)
    inner = None if name is None else eqn.params.get(name)
    # from jax 0.12 on the two are one class, which brings its constants
    return inner if inner is None or isinstance(inner, jex.ClosedJaxpr) else jex.ClosedJaxpr(inner, ())


def scan_counts(eqn: Any) -> tuple[int, int]:
    """How many of a scan's operands are constants, and how many of the next ones are carried."""
    p = eqn.params
    if "num_carry" in p:
        return p["num_consts"], p["num_carry"]
    # from jax 0.12 on: the operands' structure, (constants, carry, entries)
    constants, carry, _ = (len(list(part)) for part in p["ft_in"].unpack())
    return constants, carry


def inner_jaxprs(eqn: Any) -> list[jex.Jaxpr]:
    """All jaxprs among an equation's parameters: the bodies of calls, loops and branches."""
    found = []
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, jex.ClosedJaxpr):
                found.append(part.jaxpr)
            elif isinstance(part, jex.Jaxpr):
                found.append(part)
    return found


class Uniform:
    """Propagates "one number for all lanes" through a program: a result is uniform if everything it depends on is.

    Operands and results are told by a bool each: whether a scalar is uniform, whether a table is shared by all lanes. What
    is said to be uniform is written as uniform; the converse may fail.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, tuple[bool, ...]], tuple[jex.Jaxpr, list[bool]]] = {}

    def _closed(self, closed: jex.ClosedJaxpr, inputs: Sequence[bool]) -> list[bool]:
        return self._jaxpr(closed.jaxpr, [True] * len(closed.consts) + list(inputs))

    def _jaxpr(self, jaxpr: jex.Jaxpr, inputs: Sequence[bool]) -> list[bool]:
        key = (id(jaxpr), tuple(inputs))
        found = self._known.get(key)
        if found is not None:
            return found[1]
        env: dict[Any, bool] = dict(zip([*jaxpr.constvars, *jaxpr.invars], inputs, strict=True))

        def known(atom: Any) -> bool:
            return True if isinstance(atom, jex.Literal) else env[atom]

        for eqn in jaxpr.eqns:
            env.update(zip(eqn.outvars, self._equation(eqn, [known(a) for a in eqn.invars]), strict=True))
        result = [known(a) for a in jaxpr.outvars]
        self._known[key] = (jaxpr, result)  # the jaxpr too: it must live as long as its number is a key
        return result

    def _equation(self, eqn: Any, args: Sequence[bool]) -> list[bool]:
        match eqn.primitive.name:
            case "table_full_like" | "table_scratch" | "table_write":
                return [False]  # written tables belong to one lane
            case "table_length":
                return [True]
            case "while" | "scan":
                # all or nothing in what goes in, which is as fine as any use so far needs
                return self.loop(eqn, args) if all(args) else [False] * len(eqn.outvars)
            case "cond":
                # a table chosen among others may be a copy, which belongs to one lane
                found = self.branches(eqn, args)
                return [same and v.aval.shape == () for v, same in zip(eqn.outvars, found, strict=True)]
        inner = nested_jaxpr(eqn)
        if inner is not None:
            return self._closed(inner, args)
        return [all(args)] * len(eqn.outvars)

    def branches(self, eqn: Any, args: Sequence[bool]) -> list[bool]:
        """Which results of a cond are uniform."""
        if not all(args):
            return [False] * len(eqn.outvars)
        return [all(found) for found in zip(*(self._closed(b, args[1:]) for b in eqn.params["branches"]), strict=True)]

    def loop(self, eqn: Any, args: Sequence[bool]) -> list[bool]:
        """Which carried values of a while or scan stay uniform in all turns."""
        p = eqn.params
        if eqn.primitive.name == "while":
            body, test = p["body_jaxpr"], p["cond_jaxpr"]
            of_test, first = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
            last = len(args)
        else:
            body, test = p["jaxpr"], None
            constants, carried = scan_counts(eqn)
            of_test, first, last = 0, constants, constants + carried
        carry = list(args[first:last])
        while True:
            out = self._closed(body, [*args[of_test:first], *carry, *args[last:]])
            turns = test is None or self._closed(test, [*args[:of_test], *carry])[0]
            after = [turns and a and b for a, b in zip(carry, out, strict=False)]
            # a table that is not the same as before may be a copy, which belongs to one lane
            befores = body.jaxpr.invars[first - of_test :]
            for i, (old, new) in enumerate(zip(befores, body.jaxpr.outvars, strict=False)):
                if new.aval.shape != () and new is not old:
                    after[i] = False
            if after == carry:
                return carry
            carry = after
