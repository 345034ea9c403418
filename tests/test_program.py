"""The command line as a process of its own: signals, and standard output that cannot be written."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from test_cli import SIMULATION, listing

SIMULATE = ["simulate", "simulation.toml", "--out", "above/out", "--no-figures"]
# the signal comes in a destructor, where what is raised is lost, and then compiled code runs
SIGNALLED = """
import ctypes, os, signal, vht.cohort.store as store

class Last:
    def __del__(self):
        os.kill(os.getpid(), {number})
        ctypes.CDLL(None).sleep(60)

# a process that a shell started in the background is deaf to some
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
store.write_settings = lambda *_, **__: Last() and None
import vht.cli; vht.cli.main()
"""
BUSY = """
import signal, time
from vht.cohort.study import Study

signal.signal(signal.SIGINT, signal.default_int_handler)
Study.simulate = lambda *_, **__: time.sleep(60)
import vht.cli; vht.cli.main()
"""
PROGRAM = "import vht.cli; vht.cli.main()"


@pytest.fixture
def home(tmp_path):
    """A folder with a study, which is where the program runs."""
    (tmp_path / "simulation.toml").write_text(SIMULATION)
    return tmp_path


@pytest.fixture
def closed():
    """A pipe from which nobody reads."""
    ours, theirs = os.pipe()
    os.close(ours)
    yield theirs
    os.close(theirs)


def program(text, *arguments, cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings):
    command, env = [sys.executable, "-c", text, *arguments], os.environ | settings
    return subprocess.run(command, cwd=cwd, stdout=stdout, stderr=stderr, env=env, text=True, check=False, timeout=120)


class TestSignals:
    @pytest.mark.parametrize(
        "number,code,said,document",
        [
            (signal.SIGINT, 130, "error: Interrupted; nothing was written.\n", '{\n  "error": "interrupted"\n}\n'),
            (signal.SIGTERM, 143, "", ""),
            (signal.SIGHUP, 129, "", ""),
            (signal.SIGXCPU, 152, "", ""),
        ],
    )
    def test_a_signal_leaves_nothing_behind(self, home, number, code, said, document):
        before = listing(home)
        done = program(SIGNALLED.format(number=int(number)), *SIMULATE, "--json", cwd=home)
        assert (done.returncode, done.stderr, done.stdout) == (code, said, document)
        assert listing(home) == before

    def test_a_closed_terminal_ends_nothing_that_nohup_started(self, home):
        hung_up = "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); import vht.cohort.store as store\n"
        hung_up += f"store.versions = lambda: os.kill(os.getpid(), signal.SIGHUP) or {{}}\n{PROGRAM}"
        assert program(hung_up, *SIMULATE, cwd=home).returncode == 0
        assert (home / "above" / "out" / "settings.json").exists()

    def test_ctrl_c_gives_the_cursor_back(self, home):
        pty = pytest.importorskip("pty")
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", BUSY, *SIMULATE]
        told = b""
        with subprocess.Popen(
            command, cwd=home, stderr=theirs, stdout=subprocess.DEVNULL, env=os.environ | {"TERM": "xterm"}
        ) as process:
            os.close(theirs)
            try:
                while b"Simulating" not in told:
                    told += os.read(ours, 4096)
                assert b"\x1b[?25l" in told
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(OSError):  # the other end is closed
                    while more := os.read(ours, 4096):
                        told += more
                assert process.wait(60) == 130
            finally:
                process.kill()
                os.close(ours)
        assert told.rindex(b"\x1b[?25h") > told.rindex(b"\x1b[?25l") and b"Interrupted" in told


class TestProgram:
    def test_python_runs_it_by_the_package_s_name(self, home):
        done = subprocess.run([sys.executable, "-m", "vht", "--version"], cwd=home, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("vht ")

    @pytest.mark.parametrize(
        "arguments,code,said",
        [
            (["--version"], 0, ""),
            (["--fast"], 2, "No such option"),
            (["simulate", "nothing.toml", "--out", "out"], 2, "error: There is no study file nothing.toml"),
        ],
    )
    def test_exit_codes(self, home, arguments, code, said):
        done = program(PROGRAM, *arguments, cwd=home)
        assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr

    @pytest.mark.skipif(sys.platform != "linux", reason="a system whose names are UTF-8")
    def test_a_folder_whose_name_is_no_utf_8(self, home):
        folder = home / os.fsdecode(b"f\xfcr")
        folder.mkdir()
        (folder / "simulation.toml").write_text(SIMULATION)
        study, out = folder / "simulation.toml", folder / "out"
        done = program(PROGRAM, "simulate", str(study), "--out", str(out), "--quiet", cwd=home)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert {"twins.csv", "twins.parquet", "trajectories.zarr"} < set(listing(out))
        assert json.loads((out / "settings.json").read_text("utf-8"))["study"] == str(study)

    @pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no full device")
    def test_results_are_kept_that_cannot_be_told(self, home):
        with open("/dev/full", "w") as full:
            done = program(PROGRAM, *SIMULATE, cwd=home, stdout=full)
        said = "error: Standard output cannot be written: No space left on device.\n"
        assert done.returncode == 2 and done.stderr.endswith(said)
        assert (home / "above" / "out" / "settings.json").exists()

    @pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no full device")
    @pytest.mark.parametrize("arguments", [["models", "--json"], ["models", "oral_drug"], ["--help"]])
    def test_standard_output_that_is_full(self, home, arguments):
        with open("/dev/full", "w") as full:
            done = program(PROGRAM, *arguments, cwd=home, stdout=full)
        assert (done.returncode, done.stderr) == (
            2,
            "error: Standard output cannot be written: No space left on device.\n",
        )

    def test_help_is_light(self):
        heavy = "jax numpy pandas pyarrow xarray zarr matplotlib diffrax pydantic pint scipy"
        program = (
            "import sys, vht.cli\n"
            "try: vht.cli.app(['--help'])\n"
            "except SystemExit: pass\n"
            f"print([name for name in '{heavy}'.split() if name in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "[]"

    @pytest.mark.parametrize("arguments", [SIMULATE, ["models"], ["--help"]])
    def test_a_closed_pipe_is_no_error(self, home, closed, arguments):
        done = program(PROGRAM, *arguments, cwd=home, stdout=closed)
        assert (done.returncode, done.stderr) == (0, "")
        assert (home / "above" / "out" / "settings.json").exists() == (arguments[0] == "simulate")

    def test_nobody_listens_at_all(self, home, closed):
        (home / "simulation.toml").write_text(SIMULATION + '[parameters]\nka = "99 1/h"\n')  # which is warned of
        done = program(PROGRAM, *SIMULATE, cwd=home, stdout=closed, stderr=closed)
        assert done.returncode == 0 and (home / "above" / "out" / "settings.json").exists()
        done = program(PROGRAM, *SIMULATE, cwd=home, stdout=closed, stderr=closed)
        assert done.returncode == 2  # there is an earlier result

    def test_letters_that_standard_output_does_not_have(self, home):
        (home / "simulation.toml").write_text('title = "Åsa — 中"\n' + SIMULATION, "utf-8")
        done = program(PROGRAM, *SIMULATE, cwd=home, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "") and "?sa ? ?" in done.stdout
        assert (home / "above" / "out" / "settings.json").exists()
        done = program(PROGRAM, *SIMULATE, "--overwrite", "--json", cwd=home, PYTHONIOENCODING="ascii")
        assert json.loads(done.stdout)["study"] == "Åsa — 中"
