"""The form of a study file: which sections and keys there are, and what each may hold (pydantic)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from vht.errors import nearest

_QUANTITY = re.compile(r"^\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>[^\d\s.].*|1/.*)?$")


class Quantity(BaseModel):
    """A number and its unit as written; the unit is "" where none is.

    Attributes:
        number: as written.
        unit: as written.
    """

    model_config = ConfigDict(frozen=True)
    number: float
    unit: str

    def __str__(self) -> str:
        return f"{self.number:g} {self.unit}".strip()


def _quantity(found: Any) -> Quantity:
    if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
        return Quantity(number=float(found), unit="")
    parts = _QUANTITY.match(found) if isinstance(found, str) else None
    if parts is None or not math.isfinite(float(parts["number"])):
        raise PydanticCustomError("quantity", 'must be a number with its unit, such as "40 L/h"')
    return Quantity(number=float(parts["number"]), unit=(parts["unit"] or "").strip())


def _increasing(found: list[Quantity]) -> list[Quantity]:
    if found[0].unit == found[1].unit and not found[0].number < found[1].number:
        raise PydanticCustomError(
            "reversed",
            "must be increasing, but got ({low}, {high}): swap them",
            {"low": str(found[0]), "high": str(found[1])},
        )
    return found


def _short(found: Any) -> Any:
    """A kind by its name alone: ``noise = "additive"``."""
    return {"kind": found} if isinstance(found, str) else found


def _exponent(found: Any) -> Any:
    """Allometry by its exponent alone."""
    return {"exponent": float(found)} if isinstance(found, int | float) and not isinstance(found, bool) else found


def _fit(found: Any) -> Any:
    """A genotype by a fit's name alone."""
    return {"fit": found} if isinstance(found, str) else found


AQuantity = Annotated[Quantity, BeforeValidator(_quantity)]
Bounds = Annotated[list[AQuantity], Field(min_length=2, max_length=2), AfterValidator(_increasing)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PriorTable(_Section):
    """``prior = "model"``, or a distribution of its own."""

    kind: Literal["model", "normal", "lognormal", "uniform"]
    mean: AQuantity | None = None
    median: AQuantity | None = None
    sd: AQuantity | None = None
    lower: AQuantity | None = None
    upper: AQuantity | None = None


class FreeTable(_Section):
    """``[free.NAME]``: something to estimate."""

    transform: Literal["log", "logit", "identity"] | None = None
    bounds: Bounds | None = None
    start: AQuantity | None = None
    prior: Annotated[PriorTable, BeforeValidator(_short)] | None = None


class NoiseTable(_Section):
    """``noise = "additive"``, or with known numbers."""

    kind: Literal["additive", "proportional", "combined"]
    sd: AQuantity | None = None
    fraction: Positive | None = None


class ObservableTable(_Section):
    """``[observables.NAME]``: something that was measured."""

    output: str | None = None
    noise: Annotated[NoiseTable, BeforeValidator(_short)] = NoiseTable(kind="additive")
    since: AQuantity | None = None


class InputTable(_Section):
    """``[inputs.NAME]``: how a measured input runs between its values."""

    interpolation: Literal["linear", "hold"] = "linear"


class TablesSection(_Section):
    """``[tables]``: files, relative to the study file."""

    measurements: str | None = None
    schedule: str | None = None
    signals: str | None = None
    covariates: str | None = None
    people: str | None = None


class AllometryTable(_Section):
    """``allometry = 0.75``, or by another measure of size."""

    exponent: Annotated[float, Field(allow_inf_nan=False)]
    size: Literal["weight", "lean_body_weight", "body_surface_area", "blood_volume"] = "weight"
    reference: AQuantity | None = None


class MaturationTable(_Section):
    """``maturation = {}``: by default of glomerular filtration."""

    half: AQuantity | None = None
    hill: Positive | None = None


class RenalTable(_Section):
    """``renal = { fraction = 0.5 }``."""

    fraction: Share
    reference: AQuantity | None = None
    formula: Literal["cockcroft_gault", "ckd_epi"] = "cockcroft_gault"


class GenotypeTable(_Section):
    """``genotype = "s_warfarin"``: a drug's published fit; or by the score of an enzyme."""

    fit: Literal["s_warfarin", "risperidone"] | None = None
    gene: Literal["CYP2C9", "CYP2D6"] | None = None
    fraction: Share | None = None


class CovariateTable(_Section):
    """``[covariates.NAME]``: how what is known of people sets a parameter."""

    allometry: Annotated[AllometryTable, BeforeValidator(_exponent)] | None = None
    maturation: MaturationTable | None = None
    renal: RenalTable | None = None
    genotype: Annotated[GenotypeTable, BeforeValidator(_fit)] | None = None


class SolverSection(_Section):
    """``[solver]``."""

    method: Literal["auto", "tsit5", "rodas5p", "rush_larsen"] = "tsit5"
    rtol: NotNegative | None = None
    atol: NotNegative | None = None
    max_steps: Count | None = None
    max_step: AQuantity | None = None
    backend: Literal["auto", "lanes", "xla"] = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"


class CalibrateSection(_Section):
    """``[calibrate]``."""

    starts: Count | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    max_iterations: Count | None = None


class SimulateSection(_Section):
    """``[simulate]``."""

    times: Annotated[list[AQuantity], Field(min_length=1)] | None = None
    until: AQuantity | None = None
    points: Annotated[int, Field(ge=2)] | None = None
    twins: Any = None
    seed: Annotated[int, Field(ge=0)] = 0
    vary: list[str] | None = None
    spread: Positive | None = None
    observe: Annotated[list[str], Field(min_length=1)] | None = None


class StudyFile(_Section):
    """A whole study file."""

    model: str
    title: str = ""
    parameters: dict[str, AQuantity] = {}
    initial: dict[str, AQuantity] = {}
    free: dict[str, FreeTable] = {}
    observables: dict[str, ObservableTable] = {}
    inputs: dict[str, InputTable] = {}
    covariates: dict[str, CovariateTable] = {}
    tables: TablesSection = TablesSection()
    solver: SolverSection = SolverSection()
    calibrate: CalibrateSection = CalibrateSection()
    simulate: SimulateSection | None = None


Found = list[tuple[str, str]]


def read_form(raw: Mapping[str, Any]) -> tuple[StudyFile | None, Found]:
    """Check the form of a study.

    Args:
        raw: what the TOML file holds.

    Returns:
        What is well formed of it (None if not even the model is), and the problems: dotted key and message.
    """
    rest: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in raw.items()}
    found: Found = []
    for section in ("parameters", "initial", "free", "observables", "inputs", "covariates"):
        if isinstance(rest.get(section), dict):
            named = list(_flat(rest[section], _SECTIONS.get(section)))
            rest[section] = dict(named)
            twice = [name for i, (name, _) in enumerate(named) if name in dict(named[:i])]
            found += [
                (f"{section}.{name}", "This is given twice, with its name in quotes and in parts.") for name in twice
            ]
    for _ in range(2):
        try:
            return StudyFile.model_validate(rest), found
        except ValidationError as error:
            details = error.errors()
            found += [(_key(d["loc"]), _say(d)) for d in details]
            # the rest may have problems of its own, of meaning rather than form: drop what is malformed and go on
            for d in details:
                place: list[Any] = list(d["loc"])
                section = rest.get(str(place[0]))
                if len(place) > 1 and isinstance(section, dict):
                    section.pop(place[1], None)
                else:
                    rest.pop(str(place[0]), None)
    return None, list(dict.fromkeys(found))


def _flat(found: Mapping[str, Any], table: type[BaseModel] | None, before: str = "") -> Iterator[tuple[str, Any]]:
    """A section by full names: those of a body have dots, which TOML takes for tables in tables (also ``initial.STATE``)."""
    for name, value in found.items():
        within = isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())
        if table is None:
            group = isinstance(value, dict)
        else:
            group = within and bool(value) and not set(value) <= set(table.model_fields)
        if group:
            yield from _flat(value, table, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _key(place: tuple[int | str, ...]) -> str:
    out = ""
    for part in place:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


_SECTIONS: dict[str, type[BaseModel]] = {
    "free": FreeTable,
    "observables": ObservableTable,
    "inputs": InputTable,
    "covariates": CovariateTable,
    "tables": TablesSection,
    "solver": SolverSection,
    "calibrate": CalibrateSection,
    "simulate": SimulateSection,
}


def _say(detail: Any) -> str:
    """One of pydantic's errors in our words."""
    place: list[Any] = list(detail["loc"])
    kind, given = detail["type"], detail.get("input")
    match kind:
        case "extra_forbidden":
            section = PriorTable if "prior" in place[2:-1] else NoiseTable if "noise" in place[2:-1] else None
            section = section or (_SECTIONS.get(str(place[0]), StudyFile) if place[1:] else StudyFile)
            what = "section" if isinstance(given, dict) else "key"
            return f"This {what} is unknown.{nearest(str(place[-1]), section.model_fields)}"
        case "missing":
            hint = ' Give a name such as "oral_drug"; `vht models` lists them.' if place[-1] == "model" else ""
            return f"The key is missing.{hint}"
        case "quantity" | "reversed":
            message = detail["msg"]
            return f"The value {message}." if kind == "reversed" else f"The value {message}, but is {_show(given)}."
        case "literal_error":
            return f"The value must be {detail['ctx']['expected']}, but is {_show(given)}.".replace("'", '"')
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"This must be a section of keys, but is {_show(given)}."
        case "too_short" | "too_long" if place[-1] == "bounds":
            return f"There must be a lower and an upper bound, but got {len(given)} numbers."
    words = {
        "string_type": "a text",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "list_type": "a list",
        "too_short": "a longer list",
    }
    limits = {
        "greater_than": "greater than {gt:g}",
        "greater_than_equal": "at least {ge:g}",
        "less_than_equal": "at most {le:g}",
    }
    if kind in limits:
        return f"The value must be {limits[kind].format(**detail['ctx'])}, but is {_show(given)}."
    if kind in words:
        return f"The value must be {words[kind]}, but is {_show(given)}."
    return f"{detail['msg']}, but got {_show(given)}."


def _show(found: Any) -> str:
    if isinstance(found, str):
        return f'"{found}"'
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, Mapping):
        return "a section"
    return str(found)
