"""Models as plain data, for programs."""

from __future__ import annotations

import dataclasses
from typing import Any

from vht.library import bibtex, cited, verification
from vht.model import Organ, conserved, events, inputs, outputs, parameters, states
from vht.report.tables import say_prior, summary


def describe(name: str, model: type[Organ]) -> dict[str, Any]:
    """Everything a model declares, what it was verified against, and for a body its organs and wires.

    Args:
        name: in the catalogue.
        model: its class.
    """

    def group(variables: dict[str, Any], *more: str) -> dict[str, Any]:
        return {
            name: {"unit": v.unit, "meaning": v.meaning, **{key: getattr(v, key) for key in more}}
            for name, v in variables.items()
        }

    described = {
        "summary": summary(model),
        "time": model.time,
        "citation": cited(model),
        "verified": [dataclasses.asdict(record) for record in verification(name)],
        "parameters": group(parameters(model), "default", "bounds", "source"),
        "states": group(states(model), "default", "algebraic"),
        "inputs": group(inputs(model), "default", "port"),
        "outputs": group(outputs(model)),
        "conserved": group(conserved(model)),
        "events": group(events(model), "direction"),
        "references": bibtex(model),
    }
    for key, variable in parameters(model).items():
        described["parameters"][key]["prior"] = say_prior(variable.prior) or None
    parts = getattr(model, "parts", None)
    if parts is not None:
        described["organs"] = {organ: type(each).__name__ for organ, each in parts.organs.items()}
        described["wires"] = {sink: [source.name for source in sources] for sink, sources in parts.sources.items()}
        described["solved for"] = list(parts.cut)
    return described
