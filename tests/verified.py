"""What organ models were verified against, and how closely: figures that tests reach, kept with the package.

`vht models` shows them, so they must be what the tests measure. A test hands its figure to the fixture `verified`, which
asserts what is demanded and that the kept figure is no better than the measured one. ``pytest --record-verified`` writes
what it measures.
"""

import json
import pathlib

import vht.organs

FOLDER = pathlib.Path(vht.organs.__file__).parent / "verified"
# a figure of rounding differs between machines; far below what is demanded it does not matter
FLATTERING, FAR_BELOW = 2.0, 0.1


class Verified:
    """Records of one test run.

    Args:
        record: write figures instead of comparing with those that are kept.
        folder: of the records.
    """

    def __init__(self, record: bool, folder: pathlib.Path = FOLDER) -> None:
        self.record, self.folder = record, folder

    def __call__(self, model, what, reference, *, reached, within, unit="1"):
        """Assert that a figure is within what is demanded, and that it is the one that is kept.

        Args:
            model: name in the catalogue.
            what: was compared, in a few words.
            reference: with what: a paper and its table or figure, a solver, a closed form, data.
            reached: an error, or a value if `within` is a range.
            within: the largest error, or the lowest and the highest value.
            unit: of `reached`.
        """
        reached, exact = float(reached), isinstance(within, int | float)
        low, high = (0.0, float(within)) if exact else map(float, within)
        assert low <= reached <= high, (
            f"{what} of `{model}` against {reference}: {reached:.4g} {unit}, demanded {within}"
        )
        entry = {"what": what, "reference": reference, "reached": float(f"{reached:.3g}"), "unit": unit}
        entry["within"] = high if exact else [low, high]
        path = self.folder / f"{model}.json"
        kept = json.loads(path.read_text()) if path.exists() else []
        found = [other for other in kept if other["what"] == what]
        if self.record:
            kept = [entry if other["what"] == what else other for other in kept] + ([] if found else [entry])
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
            return
        again = "run `pytest --record-verified` on this test"
        assert found, f"{path.name} has no record of {what!r}: {again}"
        same = {key: found[0][key] for key in ("what", "reference", "unit", "within")}
        assert same == {key: entry[key] for key in same}, f"the record of {what!r} says something else: {again}"
        was = found[0]["reached"]
        fair = (
            reached <= FLATTERING * was or reached <= FAR_BELOW * high
            if exact
            else abs(reached - was) <= 0.1 * (high - low)
        )
        assert fair, f"{what}: {reached:.3g} {unit} measured, {was:.3g} in {path.name}: {again}"
