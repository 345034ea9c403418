"""Who may import whom: an import goes down this list, never up."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# the layers, lowest first; files stand above what they are read into
LAYERS = [
    "vht_kernels",
    "errors",
    "drafts",
    "model",
    "covariates",
    "solve",
    "organs",
    "bodies",
    "library",
    "calibrate",
    "cohort",
    "report",
    "demo",
    "cli",
    "__main__",
]
# below, and still none of their business
BLIND = {
    "solve": {"covariates"},
    "organs": {"covariates", "solve"},
    "bodies": {"solve"},
    "library": {"solve"},
    "calibrate": {"bodies", "library", "organs"},
}
FILES = sorted(p for p in (ROOT / "vht").rglob("*.py") if p != ROOT / "vht" / "__init__.py")
ORGANS = [p for p in FILES if "organs" in p.relative_to(ROOT).parts and p != ROOT / "vht" / "organs" / "__init__.py"]
KERNELS = sorted((ROOT / "kernels" / "vht_kernels").rglob("*.py"))


def imported(path):
    """Modules that a file imports anywhere, for types or in a function too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    own = path.relative_to(ROOT / "vht").parts[0].removesuffix(".py")
    allowed = set(LAYERS[: LAYERS.index(own) + 1]) - BLIND.get(own, set())
    names = [name.split(".") for name in imported(path)]
    assert ["vht"] not in names or own in ("cli", "demo"), "the whole package is imported"
    ours = [name for name in names if name[0] in ("vht", "vht_kernels") and name != ["vht"]]
    assert {name[1] if name[0] == "vht" else name[0] for name in ours} <= allowed


def holds_a_model(path):
    """Whether a file declares an organ model, rather than formulas or tables that several share."""
    classes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef)]
    return any(isinstance(base, ast.Name) and base.id == "Organ" for node in classes for base in node.bases)


@pytest.mark.parametrize("path", ORGANS, ids=lambda p: p.name)
def test_an_organ_knows_no_other(path):
    home = ".".join(path.relative_to(ROOT).parts[:-1])
    for name in imported(path):
        if name.startswith("vht.organs"):
            other = ROOT.joinpath(*name.split("."))
            other = other / "__init__.py" if other.is_dir() else other.with_suffix(".py")
            in_its_folder = home != "vht.organs" and name.startswith(home)
            assert in_its_folder or (holds_a_model(path) and not holds_a_model(other)), name


@pytest.mark.parametrize("path", KERNELS, ids=lambda p: p.name)
def test_the_compiler_could_live_alone(path):
    known = {"jax", "jaxlib", "llvmlite", "numpy", "vht_kernels", *sys.stdlib_module_names}
    for_types = {"jaxtyping"} if "if TYPE_CHECKING:" in path.read_text(encoding="utf-8") else set()
    assert {name.split(".")[0] for name in imported(path)} <= known | for_types


def test_the_compiler_needs_no_more_than_it_says():
    script = "import sys; sys.modules['jaxtyping'] = None; import numpy, vht_kernels as v; print(v.lanes(abs)(-numpy.ones(1)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[1.]", done.stderr


@pytest.mark.parametrize(
    ("folder", "guide", "written"),
    [("vht/solve", "vht/solve/__init__.py", "`{}`"), ("kernels/vht_kernels", "kernels/README.md", "`{}.py`")],
)
def test_a_guide_names_every_file(folder, guide, written):
    text = (ROOT / guide).read_text(encoding="utf-8")
    names = sorted(path.stem for path in (ROOT / folder).glob("*.py") if path.stem != "__init__")
    assert [name for name in names if written.format(name) not in text] == []
