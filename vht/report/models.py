"""Models as plain data, for programs."""

from __future__ import annotations

from typing import Any

from vht.model import Organ, inputs, outputs, parameters, states
from vht.report.tables import say_prior, summary


def describe(model: type[Organ]) -> dict[str, Any]:
    """Everything a model declares."""

    def group(variables: dict[str, Any], *more: str) -> dict[str, Any]:
        return {
            name: {"unit": v.unit, "meaning": v.meaning, **{key: getattr(v, key) for key in more}}
            for name, v in variables.items()
        }

    described = {
        "summary": summary(model),
        "time": model.time,
        "citation": model.citation,
        "parameters": group(parameters(model), "default", "bounds", "source"),
        "states": group(states(model), "default"),
        "inputs": group(inputs(model)),
        "outputs": group(outputs(model)),
    }
    for name, variable in parameters(model).items():
        described["parameters"][name]["prior"] = say_prior(variable.prior) or None
    return described
