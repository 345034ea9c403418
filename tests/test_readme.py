"""What the README shows runs as it stands there."""

import pathlib
import re

from typer.testing import CliRunner

from vht.cli import app

README = pathlib.Path(__file__).parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["demo", "--studies", "my-studies", "--quiet"]).exit_code == 0
    # what a user's program is: one module, all blocks one after another
    scope = {"__name__": "readme"}
    found = blocks("python")
    assert len(found) == 9
    for block in found:
        exec(compile(block, str(README), "exec"), scope)
    assert scope["fitted"].ok.all()
    assert scope["slopes"]["P"].shape == (1000, 101, 2)


def test_study(tmp_path, monkeypatch):
    from vht.cohort import load_study

    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["demo", "--studies", "my-studies", "--quiet"]).exit_code == 0
    (block,) = blocks("toml")
    path = tmp_path / "my-studies" / "theophylline" / "mine.toml"
    path.write_text(block)
    # CL and V are known to the model alone here: ka is what is free
    assert load_study(path).problem.free["ka"].bounds == (0.1, 10.0)
