"""The base of stored records, and how a record is read that is older, incomplete or damaged."""

import json
from collections.abc import Mapping
from functools import reduce
from pathlib import PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut


class RecordPart(BaseModel):
    """Base of records and their parts. The fields are the keys of the file; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        known = isinstance(data, Mapping)
        return {k: v for k, v in data.items() if v is not None} if known else data


FINITE = ConfigDict(allow_inf_nan=False)
"""Of parts with numbers that are never NaN or infinite, which are no JSON."""


def _stays_inside(key: str) -> str:
    if key.startswith("/") or "\0" in key or ".." in PurePosixPath(key).parts:
        raise PydanticCustomError("leads_out", "leads out of the storage")
    return key


StoredKey = Annotated[str, AfterValidator(_stays_inside)]
"""A part of the name of a file in the storage."""


StoredNumber = Annotated[int, Field(ge=0, lt=2**31)]
"""A number of a class, a reconstruction or the like, as the tables hold it."""


def _names_evaluators(recipe: dict[str, Any]) -> dict[str, Any]:
    evaluators = recipe.get("evaluators") or []
    if not isinstance(evaluators, list) or not all(
        isinstance(part, Mapping) and isinstance(part.get("name", ""), str) for part in evaluators
    ):
        raise ValueError("has evaluators of another kind than a recipe")
    return recipe


StoredRecipe = Annotated[dict[str, Any], AfterValidator(_names_evaluators)]
"""The recipe in a record. Earlier versions had other sections; of all, evaluators are a list of mappings."""
NEVER_WRITTEN = {"finite_number", "leads_out"}
"""Kinds of faults that no version has written; the record that has one is damaged or made up."""

RecordT = TypeVar("RecordT", bound=RecordPart)


def read_record(kind: type[RecordT], value: Any, origin: str) -> RecordT:
    """A record out of the value of its JSON file; a part that is incomplete or damaged counts as absent.

    Raises:
        ConfigError: the value is no record, or holds what none can hold: a number that is no JSON, or a name that
            leads out of the storage.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        faults = error.errors()
    if wrong := next((f for f in faults if f["type"] in NEVER_WRITTEN), None):
        place = ".".join(map(str, wrong["loc"]))
        raise ConfigError(
            f"{origin}: is not a record: {place} = {cut(str(wrong['input']))}: {wrong['msg']}"
        )
    places = {f["loc"][:-1] if f["type"] == "missing" else f["loc"] for f in faults}
    if () in places:
        raise ConfigError(f"{origin}: is not a record: {faults[0]['msg']}")
    rest = json.loads(json.dumps(value))
    # Later items of a list go first, so the numbers of the others stay right.
    for *path, last in sorted(places, key=lambda loc: [(str(part).zfill(9)) for part in loc])[::-1]:
        parent = reduce(lambda node, part: node[part], path, rest)
        del parent[last]
    return read_record(kind, rest, origin)
