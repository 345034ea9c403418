"""Wires between the ports of organs: what they join, checked; and in which order outputs become known."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from vht.errors import ModelError, nearest
from vht.model.organ import Organ, inputs, outputs, parameters, states, tracing, with_parameters


@dataclasses.dataclass(frozen=True)
class Converted:
    """A source whose unit may differ from the sink's; see `converted`."""

    source: str


def converted(source: str) -> Converted:
    """A wire between ports in different units of one dimension: ``wires={"kidney.Q": converted("heart.Q")}``.

    Without it a wire wants equal units, since a difference is more often a mistake than meant.

    Args:
        source: the output, such as "heart.Q".
    """
    return Converted(source)


Sources = str | Converted | Sequence[str | Converted]


@dataclasses.dataclass(frozen=True)
class Source:
    """An output that drives an input.

    Attributes:
        organ: whose output it is.
        output: its name.
        scale: the sink's value for each unit of it.
    """

    organ: str
    output: str
    scale: float = 1.0

    @property
    def name(self) -> str:
        """As it is written in a body."""
        return f"{self.organ}.{self.output}"


@dataclasses.dataclass(frozen=True)
class Stage:
    """Outputs of one organ that become known together, once those of earlier stages are."""

    organ: str
    outputs: tuple[str, ...]


def join(organs: Mapping[str, Organ], wires: Mapping[str, Sources]) -> dict[str, tuple[Source, ...]]:
    """The sources of every sink, checked.

    Args:
        organs: by name.
        wires: by sink, its source or sources.

    Raises:
        ModelError: an unknown port (suggests the nearest); several sources for a port that is no flow; units that differ.
    """
    found = {}
    for sink, given in wires.items():
        owner, port = _port(organs, sink, "input")
        several = (given,) if isinstance(given, str | Converted) or not isinstance(given, Iterable) else tuple(given)
        if not several:
            raise ModelError(f"`{sink}` is wired to nothing: leave it out, or name an output.")
        variable = inputs(organs[owner])[port]
        if len(several) > 1 and variable.port != "flow":
            raise ModelError(
                f'Several sources add up only in a port of kind "flow", but `{sink}` is a signal and has {len(several)}: '
                f"{', '.join(_said(source) for source in several)}."
            )
        found[sink] = tuple(_source(organs, sink, variable.unit, source) for source in several)
    return found


def _said(source: str | Converted) -> str:
    return f"`{source.source if isinstance(source, Converted) else source}`"


def _source(organs: Mapping[str, Organ], sink: str, unit: str, source: str | Converted) -> Source:
    name = source.source if isinstance(source, Converted) else source
    organ, output = _port(organs, name, "output")
    own = outputs(organs[organ])[output].unit
    if own == unit:
        return Source(organ, output)
    # units need pint, which takes a third of a second to load
    from vht.model.units import conversion, parse, same

    if parse(own).dimensionality != parse(unit).dimensionality:
        raise ModelError(f"`{sink}` is in {unit}, but its source `{name}` in {own}: they measure different things.")
    scale, offset = conversion(own, unit)
    if offset:
        raise ModelError(f"`{sink}` is in {unit}, but its source `{name}` in {own}, which begins elsewhere.")
    if isinstance(source, Converted):
        return Source(organ, output, scale)
    if not same(parse(own), parse(unit)):
        raise ModelError(
            f"`{sink}` is in {unit}, but its source `{name}` in {own}. If that is meant, wire "
            f'`"{sink}": converted("{name}")`.'
        )
    return Source(organ, output)


def _port(organs: Mapping[str, Organ], name: Any, kind: str) -> tuple[str, str]:
    """Organ and port of a name."""
    if not isinstance(name, str):
        raise ModelError(f'A port is written as a text such as "heart.Q", but got {name!r}.')
    group, other = (inputs, outputs) if kind == "input" else (outputs, inputs)
    known = {f"{organ}.{port}": (organ, port) for organ, model in organs.items() for port in group(model)}
    if name in known:
        return known[name]
    elsewhere = {f"{organ}.{port}" for organ, model in organs.items() for port in other(model)}
    if name in elsewhere:
        raise ModelError(
            f"A wire is written as sink and source, `{{input: output}}`, but `{name}` stands where an {kind} should and is "
            f"an {'output' if kind == 'input' else 'input'}."
        )
    raise ModelError(f"There is no {kind} `{name}` in this body.{nearest(name, known)}")


@functools.lru_cache(maxsize=256)
def _feedthrough(structure: Any) -> dict[str, frozenset[str]]:
    organ: Organ = structure.organ
    number = jax.ShapeDtypeStruct((), jnp.result_type(float))
    names = tuple(outputs(organ))

    def found(t: Any, p: Any, x: Any, u: Any) -> tuple[Any, ...]:
        results = with_parameters(organ, p).outputs(t, organ.State(**x), organ.In(**u))
        return tuple(jnp.asarray(getattr(results, name)) for name in names)

    groups = (parameters(organ), states(organ), inputs(organ))
    given = (number, *(dict.fromkeys(group, number) for group in groups))
    with tracing(type(organ), "outputs"):
        closed = jax.make_jaxpr(found)(*given)
    ports = [path[1].key if path[0].idx == 3 else None for path, _ in jax.tree_util.tree_flatten_with_path(given)[0]]
    through = {}
    for i, name in enumerate(names):
        _, used = partial_eval.dce_jaxpr(closed.jaxpr, [i == j for j in range(len(names))])
        through[name] = frozenset(port for port, is_used in zip(ports, used, strict=True) if is_used and port)
    return through


@dataclasses.dataclass(frozen=True, eq=False)
class _ByClass:
    """An organ, equal to every other of its class: what feeds through does not depend on the numbers."""

    organ: Organ

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByClass) and type(self.organ) is type(other.organ)

    def __hash__(self) -> int:
        return hash(type(self.organ))


def feedthrough(organ: Organ) -> dict[str, frozenset[str]]:
    """By output, the inputs on which it depends at once, not only by way of the states; read from the equations.

    Raises:
        ModelError: the outputs cannot be compiled.
    """
    return _feedthrough(_ByClass(organ))


def stages(
    organs: Mapping[str, Organ], sources: Mapping[str, tuple[Source, ...]], cut: Mapping[str, float]
) -> tuple[Stage, ...]:
    """In which order the outputs that drive something can be computed.

    Args:
        organs: by name.
        sources: of every sink.
        cut: sinks whose value is an algebraic variable, so that it is known before its source is.

    Raises:
        ModelError: outputs that depend on themselves; names them in order. Or outputs that cannot be compiled.
    """
    level: dict[str, int] = {}

    def visit(source: Source, path: Mapping[str, str]) -> int:
        """Where an output stands; `path` leads to it: outputs that need it, and by which of their inputs."""
        name = source.name
        if name in path:
            loop = list(path)[list(path).index(name) :]
            # what depends on what: written from cause to effect
            said = " -> ".join((name, *reversed(loop)))
            raise ModelError(
                f"Algebraic loop: {said}. Each is computed from the one before, at the same instant. To have it solved, make "
                f'one of the inputs on the way an algebraic variable: `algebraic={{"{path[loop[-1]]}": GUESS}}`.'
            )
        if name not in level:
            own = feedthrough(organs[source.organ])[source.output]
            before = [
                visit(s, {**path, name: sink})
                for port in sorted(own)
                for sink in [f"{source.organ}.{port}"]
                if sink not in cut
                for s in sources.get(sink, ())
            ]
            level[name] = 1 + max(before, default=-1)
        return level[name]

    found: dict[tuple[int, str], dict[str, None]] = {}
    for sink in sources:
        for source in sources[sink]:
            found.setdefault((visit(source, {}), source.organ), {})[source.output] = None
    # what is met only on the way to another drives something too, so it was visited in its own right
    order = sorted(found, key=lambda key: (key[0], list(organs).index(key[1])))
    return tuple(Stage(organ, tuple(found[step, organ])) for step, organ in order)
