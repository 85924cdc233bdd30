"""Explains pydantic's validation errors to the author of a recipe: the key, what is wrong, what would be right."""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from inversionlab.core.yaml_io import cut

Location = Sequence[int | str]
"""Where an error is, as pydantic gives it: keys, positions in lists, and the names of chosen union members."""

HIDDEN = "hidden"
"""The type of a `PydanticCustomError` whose value may be a secret: it is not shown."""
_SECRET_KEY = re.compile(
    r'"[^"]*(endpoint|headers|token|secret|passw|api_?key|authorization|credential)[^"]*":',
    re.IGNORECASE,
)
"""A key below which a value may be a secret, also where it is unknown or in a wrong place."""
_SECRET_TEXT = re.compile(r":[^\n]*[@?;#]|\b(bearer|basic) ", re.IGNORECASE)
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


def explain(model: type[BaseModel], data: Any, error: ValidationError) -> Iterator[str]:
    """One line for each error that tells something new: `key = value: what is wrong (what would be right)`."""
    errors = error.errors()
    places = [e["loc"] for e in errors]
    # Pydantic calls a list too short when one of its items is wrong.
    parents = {place[:end] for place in places for end in range(len(place))}
    # Where an int or a float may stand, the error about the float says what is right.
    wide = {place[:-1] for place in places if place and place[-1] == "float"}
    # Where a value may be of several types, the errors about the others would show it.
    hidden = [_path(data, e["loc"], missing=False) for e in errors if e["type"] == HIDDEN]
    for e in errors:
        if e["type"] != HIDDEN and _path(data, e["loc"], missing=False) in hidden:
            continue
        implied = e["type"] == "too_short" and e["loc"] in parents
        narrower = e["type"].startswith("int_") and e["loc"][:-1] in wide
        if not implied and not narrower:
            yield _explain(model, data, e)


def _explain(model: type[BaseModel], data: Any, error: Any) -> str:
    path = _path(data, error["loc"], missing=error["type"] == "missing")
    dotted = ".".join(str(part) for part in path) or "(whole recipe)"
    if error["type"] == HIDDEN:
        return f"{dotted}: {error['msg']}"
    shown = dotted + _value(path, error["input"])
    match error["type"]:
        case "json_invalid":
            return "holds bytes that are not text in UTF-8"
        case "extra_forbidden":
            known = _known_keys(model, error["loc"])
            hint = f"; {_suggestion(path[-1], known)}" if known else ""
            return f"{shown}: unknown key{hint}"
        case "missing":
            hint = error.get("ctx", {}).get("hint", " and has no default")
            return f"{dotted}: is missing{hint}"
        case "union_tag_invalid":
            tag = error["ctx"]["tag"]
            names = [n.strip().strip("'") for n in error["ctx"]["expected_tags"].split(",")]
            return f"{dotted}.name = {tag}: unknown name; {_suggestion(tag, names)}"
        case "union_tag_not_found":
            return f"{dotted}: needs a `name` that says which one it is"
    message = error["msg"].removeprefix("Value error, ").replace(" after validation", "")
    for subject in ("Input", "String", "Tuple", "Dictionary"):
        message = message.replace(f"{subject} should ", "should ", 1)
    return f"{shown}: {message}" if path else message


def _value(path: Sequence[int | str], value: Any) -> str:
    """` = ` and a value, as JSON; nothing for one that stands where secrets do, or that holds such a place."""
    text = json.dumps(value, default=str)
    if "endpoint" in path or _SECRET_KEY.search(f'"{path[-1] if path else ""}": {text}'):
        return ""
    return f" = {cut(_TEXT.sub(_without_secret, text))}"


def _without_secret(text: re.Match[str]) -> str:
    """A text of a JSON value; one that looks like an address with a secret is hidden."""
    return '"***"' if _SECRET_TEXT.search(text[0]) else text[0]


def _suggestion(word: Any, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"


def _path(data: Any, location: Location, *, missing: bool) -> list[int | str]:
    """The steps of a location that exist in `data`, and a `missing` key, without union members' names."""
    path: list[int | str] = []
    node = data
    for index, part in enumerate(location):
        is_step = (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        )
        if is_step:
            path.append(part)
            node = node[part]
        elif missing and index == len(location) - 1:
            path.append(part)
    return path


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """The keys that are allowed where a location points."""
    current = [model]
    for part in location[:-1]:
        named = [m for m in current if "name" in m.model_fields]
        tagged = [m for m in named if m.model_fields["name"].default == part]
        if tagged := tagged or [m for m in current if m.__name__ == part]:
            current = tagged
        elif fields := [m.model_fields[str(part)] for m in current if part in m.model_fields]:
            current = [m for f in fields for m in models_in((f.annotation, *f.metadata))]
        # Else it is a position in a list, or a label of the user's own.
    return sorted({name for m in current for name in m.model_fields})


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models in a type annotation, or in a tuple of annotations and metadata."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    parts = annotation if isinstance(annotation, tuple) else get_args(annotation)
    return [m for part in parts for m in models_in(part)]
