"""The picture of a body: every organ, port and wire is in it, and no box lies on another."""

import pathlib
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from vht.errors import ModelError
from vht.library import model
from vht.model import Body, inputs, outputs
from vht.model.body import parts
from vht.report.picture import draw_body

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def body():
    return model("cardio_respiratory")


def test_everything_is_drawn(body, tmp_path):
    file = tmp_path / "body.svg"
    draw_body("a body", body, file)
    svg = ElementTree.parse(file).getroot()
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    made = parts(body)
    for organ, each in made.organs.items():
        assert organ in texts
        for port, variable in inputs(each).items():
            assert (port if variable.unit == "1" else f"{port} [{variable.unit}]") in texts, (organ, port)
    wires = {title.text for path in svg.iter(f"{SVG}path") for title in path.iter(f"{SVG}title")}
    assert wires == {f"{s.name} → {sink}" for sink, sources in made.sources.items() for s in sources}
    for sources in made.sources.values():
        for source in sources:
            unit = outputs(made.organs[source.organ])[source.output].unit
            assert (source.output if unit == "1" else f"{source.output} [{unit}]") in texts
    groups = [group.find(f"{SVG}rect").attrib for group in svg.iter(f"{SVG}g")]
    boxes = [tuple(float(box[key]) for key in ("x", "y", "width", "height")) for box in groups]
    assert len(boxes) == len(made.organs)
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for X, Y, W, H in boxes[:i]:
            assert x + w <= X or x >= X + W or y + h <= Y or y >= Y + H


def test_open_inputs_are_in_the_body_s_units(tmp_path):
    draw_body("a body", model("cardio_renal"), tmp_path / "body.svg")
    texts = [text.text for text in ElementTree.parse(tmp_path / "body.svg").getroot().iter(f"{SVG}text")]
    assert "oral [mg/min]" in texts and "oral [mg/h]" not in texts


def test_open_inputs_have_the_body_s_defaults(tmp_path):
    made = parts(model("metabolic"))
    draw_body(
        "a body", Body(dict(made.organs), time="min", defaults={"glucose.basal_factor": 0.625}), tmp_path / "a.svg"
    )
    assert "0.625" in [text.text for text in ElementTree.parse(tmp_path / "a.svg").getroot().iter(f"{SVG}text")]


def test_what_cannot_be_drawn(body, tmp_path):
    with pytest.raises(ModelError, match=r"give a file that ends in `\.svg`, not `body\.png`"):
        draw_body("a body", body, tmp_path / "body.png")
    with pytest.raises(ModelError, match=r"cannot be written: No such file or directory"):
        draw_body("a body", body, tmp_path / "nowhere" / "body.svg")
    with pytest.raises(ModelError, match="`Noble1962` is one organ, not a body"):
        draw_body("a cell", model("noble"), tmp_path / "cell.svg")


def test_the_command(tmp_path):
    command = [sys.executable, "-m", "vht.cli", "models", "cardio_respiratory", "--draw", str(tmp_path / "body.svg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (tmp_path / "body.svg").is_file(), done.stderr
    done = subprocess.run([*command[:4], *command[5:]], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Say which body to draw" in done.stderr


def test_an_earlier_picture_stays_on_a_full_disk(body, tmp_path, monkeypatch):
    file = tmp_path / "body.svg"
    file.write_text("earlier")
    write = pathlib.Path.write_bytes

    def fills(path, data):
        write(path, data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", fills)
    with pytest.raises(ModelError, match="cannot be written: No space left"):
        draw_body("a body", body, file)
    assert file.read_text() == "earlier" and list(tmp_path.iterdir()) == [file]
