"""Where a solve runs, and what is said where it cannot: a driver, a plugin and devices that are not there play machines."""

import json
import os
import re
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import Decay, Oral
from typer.testing import CliRunner
from vht_kernels import driver

from vht.calibrate import Free, Measurements, Observable, Problem, band, calibrate, likelihood_roots, profile_intervals
from vht.calibrate import solver as calibrate_solver
from vht.cli import app
from vht.demo.demo import copy_studies
from vht.errors import DeviceError, VhtError
from vht.organs import organ
from vht.solve import (
    Auto,
    Doses,
    Schedule,
    choose_method,
    device,
    periodic_state,
    simulate,
    simulate_with_jacobian,
    steady_state,
)
from vht.solve.device import Place, home, missing, place

CPU = jax.local_devices()[0]
TIMES = np.array([0.0, 1.0, 2.0])
WITHOUT_PLUGIN = 'jax is installed without its CUDA plugin: `pip install "jax[cuda13]"`'
WITHOUT_DRIVER = "the NVIDIA driver is not installed"
TURNED_OFF = r"JAX is told to leave GPUs out \(`JAX_PLATFORMS=cpu`\): unset it"


def card(name="NVIDIA A100", capability="8.0"):
    return types.SimpleNamespace(platform="gpu", device_kind=name, compute_capability=capability)


@pytest.fixture
def machine(monkeypatch):
    """Plays a machine: what its driver and its JAX lack, and what they see."""

    def put(*, plugin=True, lack=None, nvidia=(), default=None):
        monkeypatch.setattr(device, "_plugin", lambda: plugin)
        monkeypatch.setattr(driver, "missing", lambda: lack)
        monkeypatch.setattr(device, "_nvidia", lambda: tuple(nvidia))
        if default is not None:
            monkeypatch.setattr(device, "home", lambda: default)

    # nobody has turned GPUs off, as the settings of these tests have
    monkeypatch.setattr(device, "_platforms", lambda: ())
    return put


# --------------------------------------------------------------------------------------------------- what is missing


def test_here_without_a_gpu_all_that_is_missing_is_told_at_once(monkeypatch):
    monkeypatch.setattr(driver, "LIBRARIES", ("libno-such-driver.so.1",))
    monkeypatch.setattr(device, "_plugin", lambda: False)
    monkeypatch.setattr(device, "_platforms", lambda: ("cpu",))
    said = missing()
    assert said.startswith('`device="gpu"` needs an NVIDIA GPU, but:\n')
    first, second, third = said.split("\n  - ")[1:]
    assert first.startswith(WITHOUT_PLUGIN)
    assert second.startswith(WITHOUT_DRIVER)
    assert re.match(TURNED_OFF, third)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"plugin": False},
            '`device="gpu"` needs an NVIDIA GPU, but jax is installed without its CUDA plugin: `pip install',
        ),
        (
            {"lack": "the NVIDIA driver is for CUDA 11.8"},
            "needs an NVIDIA GPU, but the NVIDIA driver is for CUDA 11.8.",
        ),
        ({}, "JAX sees none, though plugin and driver are there (Unknown backend cuda. Available backends are"),
        (
            {"nvidia": [card("Tesla T4", "7.5"), card("Tesla V100", "7.0")]},
            "compute capability 8.0 or later (Ampere: A100, RTX 30), but JAX sees Tesla T4 (7.5), Tesla V100 (7.0).",
        ),
        (
            {"default": Place("tpu", (object(),))},
            'JAX computes on tpu here: there `device="auto", backend="xla"` solves',
        ),
        ({"nvidia": [card()], "plugin": False}, None),
        ({"nvidia": [card("Tesla T4", "7.5"), card()]}, None),
    ],
    ids=["plugin", "driver", "unseen", "old", "tpu", "all there", "one of two"],
)
def test_one_thing_is_missing(machine, settings, said):
    machine(**settings)
    if said is None:
        assert missing() is None
    else:
        assert said in missing()
        with pytest.raises(DeviceError, match=re.escape(said)):
            simulate(Decay(), TIMES, device="gpu")


def test_gpus_that_are_turned_off(machine, monkeypatch):
    machine()
    monkeypatch.setattr(device, "_platforms", lambda: ("cpu",))
    assert re.search(f"but {TURNED_OFF}", missing())
    monkeypatch.setattr(device, "_platforms", lambda: ("cuda", "cpu"))
    assert "JAX sees none" in missing()


@pytest.mark.parametrize("problem", [RuntimeError("no such backend"), AssertionError()])
def test_jax_without_any_device(machine, monkeypatch, problem):
    def no_device(**_):
        raise problem

    machine(plugin=False)
    monkeypatch.setattr(device.jax, "local_devices", no_device)
    assert WITHOUT_PLUGIN in missing()


def test_jax_told_to_use_what_is_not_there_says_what_a_gpu_lacks():
    code = (
        "from vht.organs import organ; from vht import simulate\n"
        "try: simulate(organ('circulation')(), [0.0], device='gpu')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    told = {**os.environ, "JAX_PLATFORMS": "rocm"}
    said = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True).stdout
    assert said.startswith("DeviceError") and "(`JAX_PLATFORMS=rocm`)" in said


@pytest.mark.parametrize("told", ["cuda", "no_such"])
def test_jax_told_to_compute_where_it_cannot(told):
    code = (
        "from vht.organs import organ; from vht import simulate\n"
        "try: simulate(organ('circulation')(), [0.0])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JAX_PLATFORMS": told},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith(
        f"DeviceError JAX is told to compute on `{told}` (`JAX_PLATFORMS={told}`), which it cannot use"
    )
    assert said.strip().endswith("unset it, or write `JAX_PLATFORMS=cpu`.")


def test_jax_told_to_leave_the_processor_out(machine, monkeypatch):
    def no_processor(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    machine(nvidia=[card()], default=Place("gpu", (card(),)))
    monkeypatch.setattr(device, "_platforms", lambda: ("cuda",))
    monkeypatch.setattr(device.jax, "local_devices", no_processor)
    with pytest.raises(DeviceError, match=r"leave the processor out .*or write `JAX_PLATFORMS=cuda,cpu`"):
        place("cpu", "lanes")


def test_jax_is_asked_for_its_platforms():
    assert device._platforms() == tuple(jax.config.jax_platforms.split(","))


def test_gpus_of_another_maker(machine, monkeypatch):
    machine()
    monkeypatch.setattr(device, "_given", lambda: card("AMD Instinct MI300X", ""))
    assert home().platform == "another maker's gpu"
    assert "JAX computes on another maker's gpu here" in missing()


def oral():
    return Problem(
        model=Oral(),
        free={"ka": Free(start=1.0)},
        observables={"c": Observable("central")},
        measurements=Measurements(
            twin=["a"] * 4, time=[0.5, 1.0, 2.0, 4.0], observable=["c"] * 4, value=[30.0, 45.0, 50.0, 35.0]
        ),
        schedule=Schedule({"dose": Doses(np.array([0.0]), np.array([100.0]))}),
    )


CALLS = {
    "simulate": lambda where: simulate(Decay(), TIMES, device=where),
    "simulate by xla": lambda where: simulate(Decay(), TIMES, backend="xla", device=where),
    "nobody": lambda where: simulate(Decay(), TIMES, twins={"k": np.zeros(0)}, device=where),
    "auto": lambda where: simulate(Decay(), TIMES, method=Auto(), device=where),
    "in a transformation": lambda where: jax.jit(lambda k: simulate(Decay(k=k), TIMES, device=where).values["x"])(0.5),
    "jacobian": lambda where: simulate_with_jacobian(Decay(), TIMES, free=["k"], device=where),
    "steady": lambda where: steady_state(organ("minimal_glucose")(), inputs={"insulin": 11.0}, device=where),
    "periodic": lambda where: periodic_state(
        Oral(), 12.0, schedule=Schedule({"dose": Doses(np.array([1.0]), np.array([10.0]))}), device=where
    ),
    "choose": lambda where: choose_method(Decay(), TIMES, device=where),
    "calibrate": lambda where: calibrate(oral(), device=where),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_entry_refuses_a_gpu_that_is_not_there_and_takes_the_processor(machine, call):
    machine(lack="the driver is lacking")
    call("cpu")
    with pytest.raises(DeviceError, match="needs an NVIDIA GPU, but the driver is lacking"):
        call("gpu")
    assert issubclass(DeviceError, VhtError)


def test_what_follows_a_calibration_refuses_it_too(machine):
    machine(lack="the driver is lacking")
    problem = oral()
    found = calibrate(problem, device="cpu")
    band(problem, found, np.array([1.0]), device="cpu")
    for call in (
        lambda: band(problem, found, np.array([1.0]), device="gpu"),
        lambda: profile_intervals(problem, found, device="gpu"),
        lambda: likelihood_roots(problem, found, found.estimate, device="gpu"),
    ):
        with pytest.raises(DeviceError, match="the driver is lacking"):
            call()


@pytest.mark.parametrize("found", ["GPU", "cuda", "tpu", None])
def test_what_is_no_device(found, unchecked_annotations):
    with pytest.raises(ValueError, match=re.escape(f'`device` must be "auto", "cpu" or "gpu", but got {found!r}')):
        simulate(Decay(), TIMES, device=found)


# ------------------------------------------------------------------------------------------------- where a solve runs


def test_here_all_is_on_the_processor():
    for where in ("auto", "cpu"):
        for backend in ("auto", "lanes", "xla"):
            found = simulate(Decay(), TIMES, device=where, backend=backend)
            assert found.settings.device == "cpu"
            assert found.to_xarray().attrs["device"] == "cpu"
    assert place("auto", "lanes") == place("cpu", "lanes") == Place("cpu", (CPU,))
    still = steady_state(organ("minimal_glucose")(), inputs={"insulin": 11.0})
    assert (still.settings.device, still.to_xarray().attrs["device"]) == ("cpu", "cpu")


def test_auto_takes_the_gpus_that_kernels_can_use(machine):
    cards = [card("old", "7.5"), card("first"), card("second", "9.0")]
    machine(nvidia=cards, default=Place("gpu", (cards[0],)))
    for backend in ("auto", "lanes"):
        assert place("auto", backend) == Place("gpu", (cards[1], cards[2]))
    # where JAX would go, as ever
    assert place("auto", "xla") == Place("gpu", (cards[0],))
    assert place("gpu", "xla") == Place("gpu", (cards[1], cards[2]))
    assert place("cpu", "lanes") == place("cpu", "xla") == Place("cpu", (CPU,))


def test_the_device_of_a_user_is_the_only_one(machine, monkeypatch):
    cards = [card("first"), card("second")]
    machine(nvidia=cards)
    monkeypatch.setattr(device, "_given", lambda: cards[1])
    for where in ("auto", "gpu"):
        assert place(where, "lanes") == Place("gpu", (cards[1],))
    # one that lies elsewhere does not forbid GPUs to whom asks for them
    monkeypatch.setattr(device, "_given", lambda: CPU)
    assert place("auto", "lanes") == Place("cpu", (CPU,))
    assert place("gpu", "lanes") == Place("gpu", tuple(cards))


def test_auto_says_why_it_leaves_a_gpu_alone(machine):
    old = card("Tesla T4", "7.5")
    machine(nvidia=[old], default=Place("gpu", (old,)))
    with pytest.warns(
        UserWarning, match=r"Runs on the processor, though JAX sees a GPU: .* but JAX sees Tesla T4 \(7\.5\)\."
    ):
        assert place("auto", "lanes") == Place("cpu", (CPU,))
    machine(nvidia=[card()], lack="the driver is for CUDA 11.8", default=Place("gpu", (card(),)))
    with pytest.warns(UserWarning, match="JAX sees a GPU: the driver is for CUDA"):
        found = simulate(Decay(), TIMES)
    assert (found.settings.backend, found.settings.device) == ("lanes", "cpu")


def test_a_default_device_by_its_name():
    with jax.default_device("cpu"):
        assert home() == Place("cpu", (CPU,))


def test_a_transformation_has_its_own_place(machine):
    found = card()
    machine(nvidia=[found], default=Place("gpu", (found,)))
    assert place("auto", "lanes", traced=True) == place("gpu", "lanes", traced=True) == Place("gpu", (found,))
    solved = jax.jit(lambda k: simulate(Decay(k=k), TIMES, device="cpu").values["x"])
    with pytest.raises(
        ValueError, match=r'platform `gpu`, but got `device="cpu"`: leave `device` at "auto", and put `with'
    ):
        solved(jnp.array(0.5))


def test_a_calibration_on_a_gpu_solves_more_twins_at_once(machine, monkeypatch):
    found = card()
    machine(nvidia=[found], default=Place("gpu", (found,)))
    problem, twins = oral(), 10_000
    asked = []

    class EnoughError(Exception):
        pass

    def solve(*args, **settings):
        asked.append((settings["twins"]["ka"].size, settings["device"]))
        raise EnoughError

    monkeypatch.setattr(calibrate_solver, "simulate_with_jacobian", solve)
    lanes = np.ones((twins, 1)), np.zeros(twins, np.int64), np.ones((twins, 1))
    for where in ("gpu", "cpu"):
        with pytest.raises(EnoughError):
            calibrate_solver.curves(problem, *lanes, "auto", where)
    assert asked == [(2**15, "gpu"), (calibrate_solver.CHUNK, "cpu")]


# ------------------------------------------------------------------------------------------------ studies, command line


@pytest.fixture
def study(tmp_path):
    copy_studies(tmp_path / "studies")
    return tmp_path / "studies" / "theophylline" / "study.toml"


def test_a_study_file_and_the_command_line_say_where(study, tmp_path, machine):
    machine(lack="the driver is lacking")
    out = tmp_path / "out"

    def run(*arguments):
        return CliRunner().invoke(
            app, ["calibrate", str(study), "--out", str(out), "--quiet", "--no-figures", *arguments]
        )

    done = run("--device", "gpu")
    assert done.exit_code == 2
    assert "needs an NVIDIA GPU, but the driver is lacking" in " ".join(done.stderr.split())
    assert not out.exists()
    study.write_text(study.read_text() + '\n[solver]\ndevice = "gpu"\n')
    assert run().exit_code == 2
    assert run("--device", "cpu").exit_code == 0
    assert json.loads((out / "settings.json").read_text())["solver"]["device"] == "cpu"


def test_a_study_that_names_no_device(study):
    study.write_text(study.read_text() + '\n[solver]\ndevice = "cuda"\n')
    done = CliRunner().invoke(app, ["calibrate", str(study), "--out", str(study.parent / "out"), "--json"])
    assert done.exit_code == 2
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["key"] == "solver.device"
    assert problem["message"] == 'The value must be "auto", "cpu" or "gpu", but is "cuda".'
