"""A heart cell and a drug by mouth."""

from __future__ import annotations

from vht.bodies.treatments import Dofetilide
from vht.model import Body
from vht.organs.ohara_rudy import OHaraRudyCiPA
from vht.organs.ohara_rudy.cipa import drugs

CardiacSafety = type(
    Body(
        {"drug": Dofetilide(), "cell": OHaraRudyCiPA(**drugs()["dofetilide"].parameters)},
        wires={"cell.drug": "drug.unbound"},
        time="ms",
        name="CardiacSafety",
        meaning="Human ventricular cell under a drug by mouth, dofetilide unless another is given.",
    )
)
