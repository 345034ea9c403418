"""The library: every model by its name, its papers, and the records of what it was verified against."""

import pytest

from vht.errors import ModelError
from vht.library import bibtex, catalogue, cited, model, verification


def test_a_model_by_its_name():
    assert model("circulation").__name__ == "Circulation"
    assert list(catalogue()) == sorted(catalogue())
    with pytest.raises(ModelError, match=r"no model `circulaton`. Did you mean `circulation`\?"):
        model("circulaton")


def test_papers():
    found = bibtex(model("minimal_glucose"))
    assert set(found) == {"bergman1979", "pacini1986"}
    assert all(entry.startswith("@") and entry.endswith("}") for entry in found.values())
    assert cited(model("circulation")) == "Regazzoni et al. 2022"
    assert cited(model("noble")) == "Noble 1962"


@pytest.mark.parametrize("name", list(catalogue()))
def test_every_model_cites_and_is_verified(name):
    assert cited(model(name)), name
    assert bibtex(model(name)), name
    records = verification(name)
    assert records, f"nothing is recorded of {name}"
    for record in records:
        low, high = (0.0, record.within) if isinstance(record.within, float | int) else record.within
        assert low <= record.reached <= high
        assert record.figure and record.what and record.reference
