"""What models were verified against, and how closely: figures that the tests reach, and compare with these records."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json


@dataclasses.dataclass(frozen=True)
class Verification:
    """One comparison of a model with something outside.

    Attributes:
        what: was compared.
        reference: with what.
        reached: the error; or the value, if `within` is a range.
        within: the largest error the test allows; or the range in which the value must lie.
        unit: of both; "1" if it has none.
    """

    what: str
    reference: str
    reached: float
    within: float | tuple[float, float]
    unit: str

    @property
    def figure(self) -> str:
        """The error or value in one short text."""
        unit = "" if self.unit == "1" else f" {self.unit}"
        exact = isinstance(self.within, float | int)
        return f"{'within ' if exact else ''}{self.reached:.2g}{unit}"


def verification(name: str) -> tuple[Verification, ...]:
    """The records of a model, by its name in the catalogue, those that matter most first; none if nothing is recorded."""
    file = importlib.resources.files("vht.organs").joinpath("verified", f"{name}.json")
    if not file.is_file():
        return ()
    records = json.loads(file.read_text("utf-8"))
    return tuple(
        Verification(**{**r, "within": tuple(r["within"]) if isinstance(r["within"], list) else r["within"]})
        for r in records
    )
