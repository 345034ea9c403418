"""A heart cell and a drug by mouth."""

from __future__ import annotations

from vht.bodies.treatments import Dofetilide
from vht.model import Body
from vht.organs.ohara_rudy import OHaraRudyCiPA
from vht.organs.ohara_rudy.cipa import drugs

_MEANING = """Human ventricular cell under a drug by mouth, dofetilide unless another is given.

The free concentration in plasma binds to hERG and blocks other currents. Beats are a schedule of `cell.stimulus`, doses (mg)
one of `drug.oral`. A cell lives through beats in milliseconds and the drug through days: where that is too long, solve the
drug alone in hours and begin with its amounts, `drug.gut` and `drug.central`. hERG takes some ten minutes to follow.

Another drug is another set of parameters, of the cell by `vht.organs.ohara_rudy.cipa.drugs` and of the drug by its label:
whatever dofetilide blocks and the other does not is set back to what blocks nothing, the cell's own default::

    cell = parameters(OHaraRudyCiPA)
    names = {*drugs()["dofetilide"].parameters, *drugs()["verapamil"].parameters}
    values = {name: drugs()["verapamil"].parameters.get(name, cell[name].default) for name in names}
    with_parameters(
        CardiacSafety(),
        {f"cell.{name}": value for name, value in values.items()}
        | {"drug.CL": 50.0, "drug.V": 350.0, "drug.F": 0.25, "drug.fu": 0.1, "drug.molar_mass": 454.6},
    )

A concentration that is known needs no drug: the cell's parameter `cell.D` adds to what comes through the wire.
"""

CardiacSafety = type(
    Body(
        {"drug": Dofetilide(), "cell": OHaraRudyCiPA(**drugs()["dofetilide"].parameters)},
        wires={"cell.drug": "drug.unbound"},
        time="ms",
        name="CardiacSafety",
        meaning=_MEANING,
    )
)
