"""The benchmarks' command, on sizes that only show that it works."""

import json

import numpy as np
import pytest

from benchmarks.__main__ import main


def test_a_quick_run_writes_a_record(tmp_path, capsys):
    main(["impossible", "--quick", "--out", str(tmp_path), "--set", "twins=200", "--set", "repeats=1"])
    (file,) = tmp_path.iterdir()
    record = json.loads(file.read_text())
    found = record["benchmarks"]["impossible"]
    assert found["settings"]["twins"] == 200 and record["machine"]["cores"] >= 1 and record["quick"]
    # all but the time, which is no test's business
    assert [t["met"] for t in found["targets"]][:3] == [True, True, True]
    assert "possible" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["circluation"], "there is no benchmark circluation"),
        (["impossible", "--set", "twin=3"], "no such field"),
        (["impossible", "--set", "twins=many"], "could not convert"),
    ],
)
def test_a_mistake_is_told(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2 and message in capsys.readouterr().err


def test_every_peer_solves_the_same_model():
    from benchmarks.cohort import circulation_cohort, relative_errors
    from benchmarks.peers import cvode, diffrax_vmap, scipy_solvers, simd, vht_lanes
    from benchmarks.peers.build import Unavailable

    cohort = circulation_cohort(8, np.linspace(0.0, 1.0, 5), seed=1)
    truth = scipy_solvers.lsoda(cohort, rtol=1e-9, atol=1e-9)
    assert truth.ok.all()
    found = {
        "lanes": vht_lanes.solve(cohort, rtol=1e-7, atol=1e-7),
        "diffrax": diffrax_vmap.solve(cohort, rtol=1e-7, atol=1e-7),
    }
    for name, solve in {
        "cvode": lambda: cvode.solve(cohort, rtol=1e-7, atol=1e-7, formula="bdf"),
        "simd": lambda: simd.solve(cohort, method="tsit5", steps=2500, dtype="float64"),
    }.items():
        try:
            found[name] = solve()
        except Unavailable:
            continue
    for name, solved in found.items():
        assert solved.ok.all(), name
        assert relative_errors(solved.values, truth.values).max() < 1e-4, name


def test_whatever_drives_a_model_is_an_input_of_it():
    from benchmarks.bodies_models import REST, TRIALS
    from vht.bodies.normal import MEASURED
    from vht.library import catalogue
    from vht.model import inputs, outputs, states

    library = catalogue()
    assert set(REST) <= set(MEASURED) and set(TRIALS) <= set(library)
    for name, trial in TRIALS.items():
        assert {drive.port for drive in trial.drives} <= set(inputs(library[name])), name
    for name, measured in MEASURED.items():
        assert set(measured) <= {*outputs(library[name]), *states(library[name])}, name


def test_bodies_at_rest_and_their_speed_beside_peers(tmp_path):
    main(["bodies", "--quick", "--out", str(tmp_path)])
    (file,) = tmp_path.iterdir()
    tables = json.loads(file.read_text())["benchmarks"]["bodies"]["tables"]
    (cohort,) = tables["bodies at rest"]
    ranges = tables["bodies at rest, against published ranges"]
    # who is outside is named, with just the outputs that are
    assert cohort["ok"] == cohort["twins"] == 16 and not cohort["failed"]
    assert cohort["within"] + len(cohort["outside"]) == 16
    for row in ranges:
        named = [twin for twin, said in cohort["outside"].items() if f"{row['output']} " in said]
        assert len(named) == row["below"] + row["above"] == round(16 * (1.0 - row["within"]))
        assert row["p5"] <= row["median"] <= row["p95"]
    # three solvers with little in common find the same
    lanes, peers = tables["speed in lanes"], {row["model"]: row for row in tables["speed of peers"]}
    for row in lanes:
        peer = peers[row["model"]]
        assert row["ok"] == row["twins"] and peer["ok"] == peer["twins"]
        assert row["error_max"] < 1e-3 and peer["error_max"] < 1e-3
    assert peers["blood_pressure"]["peer"] == "IDA" and "diffrax" in peers["minimal_glucose"]["peer"]
