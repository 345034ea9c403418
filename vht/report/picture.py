"""A picture of a body: organs as boxes with their ports, wires as arrows, as SVG."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree

from vht.drafts import draft
from vht.errors import ModelError
from vht.model import Organ, Variable, inputs, outputs, states
from vht.model.body import Parts, parts

_COLOURS = ("#1b6ca8", "#b5452c", "#2f7d4f", "#7a4fa3", "#a8761b", "#3a8f93", "#a83e72", "#5b6472")
# widths of letters are unknown without the font: those of a usual sans-serif at this size, on the safe side
_SIZE, _LETTER, _ROW, _PAD = 12, 6.9, 20, 14
_GAP, _LANE, _MARGIN = 160, 11, 28
# left of a box stand the values of inputs that nothing drives
_VALUES = 58
# wires that go back run beside each other, so many until they begin to share
_LANES = 10


class _Box(NamedTuple):
    """Where an organ is drawn; `ins` and `outs` are the heights of its ports."""

    x: float
    y: float
    width: float
    height: float
    ins: dict[str, float]
    outs: dict[str, float]


def draw_body(name: str, model: Organ | type[Organ], file: str | pathlib.Path) -> None:
    """Draw a body.

    Each organ shows the inputs that are wired or open and the outputs that drive something, with their units; outputs that
    drive nothing are only counted.

    Args:
        name: the title.
        model: the body, or its class.
        file: to write, ending in .svg.

    Raises:
        ModelError: the model is one organ; another ending; the file cannot be written.
    """
    file = pathlib.Path(file)
    if file.suffix.lower() != ".svg":
        raise ModelError(f"The picture is an SVG: give a file that ends in `.svg`, not `{file.name}`.")
    svg = _picture(name, parts(model), inputs(model))
    ElementTree.indent(svg)
    try:
        with draft(file.resolve()) as new:
            new.write_bytes(ElementTree.tostring(svg, encoding="utf-8", xml_declaration=True))
    except OSError as error:
        raise ModelError(f"{file} cannot be written: {error.strerror or error}.") from error


def _picture(name: str, body: Parts, given: Mapping[str, Variable]) -> ElementTree.Element:
    ports = _ports(body, given)
    boxes, column = _layout(body, *ports), _columns(body)
    wires = [
        (source.organ, source.output, *sink.split(".", 1)) for sink, group in body.sources.items() for source in group
    ]
    bottom = max(box.y + box.height for box in boxes.values())
    # those that do not lead to the next column go round below all boxes
    back = [wire for wire in wires if column[wire[2]] != column[wire[0]] + 1]
    width = max(box.x + box.width for box in boxes.values()) + _GAP
    height = bottom + _LANE * (len(back) + 2) + _MARGIN
    svg = ElementTree.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        attrib={"font-family": "Helvetica, Arial, sans-serif", "font-size": str(_SIZE)},
    )
    ElementTree.SubElement(svg, "title").text = name
    ElementTree.SubElement(svg, "rect", width="100%", height="100%", fill="white")
    _text(svg, _MARGIN, _MARGIN, name, weight="bold", size=16)
    colours = dict(zip(body.organs, (_COLOURS[i % len(_COLOURS)] for i in range(len(body.organs))), strict=True))
    for organ, output, sink, port in wires:
        start, end = boxes[organ], boxes[sink]
        a = (start.x + start.width, start.outs[output])
        b = (end.x, end.ins[port])
        lane = None
        if (organ, output, sink, port) in back:
            number = back.index((organ, output, sink, port))
            lane = bottom + _LANE * (1 + number), 12.0 + _LANE / 2 * (number % _LANES)
        _wire(svg, a, b, colours[organ], lane, f"{organ}.{output} → {sink}.{port}")
    for organ, model in body.organs.items():
        _draw(svg, organ, model, boxes[organ], colours[organ], body, given, *ports)
    return svg


# ---------------------------------------------------------------------------------------------------------- layout


_Labels = dict[str, dict[str, str]]


def _ports(body: Parts, given: Mapping[str, Variable]) -> tuple[_Labels, _Labels]:
    """By organ: its inputs and its outputs that drive something, with what is written beside each.

    An input that no wire drives is the body's, in its unit (`given` are all of the body's).
    """
    driving = {source.name for group in body.sources.values() for source in group}
    ins, outs = {}, {}
    for organ, model in body.organs.items():
        ports = {p: v if f"{organ}.{p}" in body.sources else given[f"{organ}.{p}"] for p, v in inputs(model).items()}
        ins[organ] = {p: _label(p, v.unit) for p, v in ports.items()}
        outs[organ] = {p: _label(p, v.unit) for p, v in outputs(model).items() if f"{organ}.{p}" in driving}
    return ins, outs


def _label(port: str, unit: str) -> str:
    return port if unit == "1" else f"{port} [{unit}]"


def _columns(body: Parts) -> dict[str, int]:
    """By organ, its column: behind those that drive it, as far as there is no way round."""
    before = {organ: set[str]() for organ in body.organs}
    for sink, group in body.sources.items():
        before[sink.split(".", 1)[0]] |= {source.organ for source in group}
    column: dict[str, int] = {}

    def place(organ: str, path: tuple[str, ...]) -> int:
        if organ not in column:
            earlier = [place(o, (*path, organ)) for o in body.organs if o in before[organ] and o not in (*path, organ)]
            column.setdefault(organ, 1 + max(earlier, default=-1))
        return column[organ]

    # from the first organ on, which its author names first: what it drives stands behind it
    column[next(iter(body.organs))] = 0
    for organ in body.organs:
        place(organ, ())
    return column


def _layout(body: Parts, ins: _Labels, outs: _Labels) -> dict[str, _Box]:
    column = _columns(body)
    widths = {
        organ: max(
            _LETTER * (max(map(len, ins[organ].values()), default=0) + max(map(len, outs[organ].values()), default=0))
            + 44,
            _LETTER * 1.15 * max(len(organ), len(_what(body.organs[organ]))) + 2 * _PAD,
        )
        for organ in body.organs
    }
    boxes, x = {}, float(_MARGIN + _GAP * 0.75)
    for number in range(max(column.values()) + 1):
        y = float(_MARGIN + 34)
        here = [organ for organ in body.organs if column[organ] == number]
        width = max((widths[organ] for organ in here), default=0.0)
        for organ in here:
            rows = max(len(ins[organ]), len(outs[organ]), 1)
            top = y + 52.0
            boxes[organ] = _Box(
                x,
                y,
                width,
                52.0 + rows * _ROW + _PAD / 2,
                {p: top + i * _ROW for i, p in enumerate(ins[organ])},
                {p: top + i * _ROW for i, p in enumerate(outs[organ])},
            )
            y += boxes[organ].height + 36
        x += width + _GAP
    return boxes


def _what(model: Organ) -> str:
    driving = len(states(model))
    return f"{type(model).__name__}, {driving} state{'' if driving == 1 else 's'}"


# --------------------------------------------------------------------------------------------------------- drawing


def _draw(
    svg: ElementTree.Element,
    organ: str,
    model: Organ,
    box: _Box,
    colour: str,
    body: Parts,
    given: Mapping[str, Variable],
    ins: _Labels,
    outs: _Labels,
) -> None:
    group = ElementTree.SubElement(svg, "g")
    ElementTree.SubElement(
        group, "rect", x=f"{box.x:g}", y=f"{box.y:g}", width=f"{box.width:g}", height=f"{box.height:g}", rx="6",
        fill="#fbfbf9", stroke=colour, attrib={"stroke-width": "1.6"},
    )  # fmt: skip
    _text(group, box.x + _PAD, box.y + 19, organ, weight="bold", colour=colour, size=14)
    _text(group, box.x + _PAD, box.y + 35, _what(model), colour="#666666", size=11)
    for port, y in box.ins.items():
        wired = f"{organ}.{port}" in body.sources
        _text(group, box.x + 10, y + 4, ins[organ][port], colour="#222222" if wired else "#8a8a8a")
        if wired:
            _head(group, box.x, y, "#444444")
        else:
            open_ = given[f"{organ}.{port}"]
            said = "" if open_.default is None or open_.port == "flow" else f"{open_.default:.4g}"
            _line(group, box.x - 26, box.x - 2, y, "#b5b5b5")
            _head(group, box.x, y, "#b5b5b5")
            if said:
                _text(group, box.x - 30, y + 4, said, colour="#8a8a8a", size=10, anchor="end")
    for port, y in box.outs.items():
        _text(group, box.x + box.width - 10, y + 4, outs[organ][port], anchor="end")
    silent = len(outputs(model)) - len(box.outs)
    if silent:
        said = f"{'and ' if box.outs else ''}{silent} output{'' if silent == 1 else 's'} to read"
        _text(group, box.x + box.width - 10, box.y + 19, said, colour="#8a8a8a", size=10, anchor="end")


def _wire(
    svg: ElementTree.Element,
    a: tuple[float, float],
    b: tuple[float, float],
    colour: str,
    lane: tuple[float, float] | None,
    what: str,
) -> None:
    """From an output to an input: straight on, or round below all boxes in a lane of its own."""
    if lane is None:
        reach = max(40.0, (b[0] - a[0]) / 2)
        path = f"M {a[0]:g} {a[1]:g} C {a[0] + reach:g} {a[1]:g} {b[0] - reach:g} {b[1]:g} {b[0] - 6:g} {b[1]:g}"
    else:
        y, out = lane
        left, right, r = b[0] - _VALUES - out, a[0] + out, 6
        on = r if left > right else -r
        path = (
            f"M {a[0]:g} {a[1]:g} H {right - r:g} Q {right:g} {a[1]:g} {right:g} {a[1] + r:g} V {y - r:g} "
            f"Q {right:g} {y:g} {right + on:g} {y:g} H {left - on:g} Q {left:g} {y:g} {left:g} {y - r:g} "
            f"V {b[1] + r:g} Q {left:g} {b[1]:g} {left + r:g} {b[1]:g} H {b[0] - 6:g}"
        )
    drawn = ElementTree.SubElement(
        svg, "path", d=path, fill="none", stroke=colour, attrib={"stroke-width": "1.5", "stroke-opacity": "0.85"}
    )
    ElementTree.SubElement(drawn, "title").text = what


def _head(svg: ElementTree.Element, x: float, y: float, colour: str) -> None:
    ElementTree.SubElement(svg, "path", d=f"M {x:g} {y:g} l -8 -4 v 8 z", fill=colour)


def _line(svg: ElementTree.Element, x1: float, x2: float, y: float, colour: str) -> None:
    ElementTree.SubElement(svg, "path", d=f"M {x1:g} {y:g} H {x2:g}", stroke=colour, fill="none")


def _text(
    svg: ElementTree.Element,
    x: float,
    y: float,
    text: str,
    *,
    colour: str = "#222222",
    weight: str = "normal",
    size: int = _SIZE,
    anchor: str = "start",
) -> None:
    attributes: Mapping[str, str] = {"font-weight": weight, "font-size": str(size), "text-anchor": anchor}
    ElementTree.SubElement(svg, "text", x=f"{x:g}", y=f"{y:g}", fill=colour, attrib=dict(attributes)).text = text
