"""The records of what organ models were verified against: honest, complete, and refused where they are not."""

import json

import pytest
from verified import FOLDER, Verified

from vht.library import catalogue


def test_a_record_is_what_was_measured(tmp_path):
    write, read = Verified(True, tmp_path), Verified(False, tmp_path)
    with pytest.raises(AssertionError, match="has no record"):
        read("heart", "rates", "SciPy", reached=1e-7, within=1e-6)
    write("heart", "rates", "SciPy", reached=4e-7, within=1e-6)
    write("heart", "pressure", "a table", reached=95.0, within=(80, 100), unit="mmHg")
    write("heart", "rates", "SciPy", reached=3e-7, within=1e-6)
    assert len(json.loads((tmp_path / "heart.json").read_text())) == 2
    read("heart", "rates", "SciPy", reached=5e-7, within=1e-6)
    read("heart", "pressure", "a table", reached=95.1, within=(80, 100), unit="mmHg")
    with pytest.raises(AssertionError, match="measured, 3e-07 in"):
        read("heart", "rates", "SciPy", reached=9e-7, within=1e-6)
    with pytest.raises(AssertionError, match="demanded"):
        read("heart", "rates", "SciPy", reached=2e-6, within=1e-6)
    with pytest.raises(AssertionError, match="demanded"):
        read("heart", "rates", "SciPy", reached=float("nan"), within=1e-6)
    with pytest.raises(AssertionError, match="something else"):
        read("heart", "rates", "CVODE", reached=3e-7, within=1e-6)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_records_are_of_models(path):
    assert path.stem in catalogue()
    for entry in json.loads(path.read_text()):
        assert set(entry) == {"what", "reference", "reached", "unit", "within"}
