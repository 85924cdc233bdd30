"""Lists every setting with its type, default and meaning, read from the settings classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_MANY = {
    str(tuple): ("N.", "list of sections"),
    str(dict): ("LABEL.", "sections by label"),
}
"""By the type of a setting that holds several sections: the step in their paths, and its name."""


def settings_reference(model: type[BaseModel]) -> Iterator[str]:
    """Lines that explain the settings of `model`, in order. Each room's entries are listed once, by name."""
    yield from _listed(model, "", None, {})


def _listed(
    model: type[BaseModel],
    prefix: str,
    given: BaseModel | None,
    rooms: dict[frozenset[type[BaseModel]], str],
) -> Iterator[str]:
    """The lines of one settings class.

    Args:
        model: the settings class.
        prefix: the path that leads to it.
        given: its settings at this place by default; None: the class's own defaults.
        rooms: the path at which each room's entries were listed first; new ones are added.
    """
    for name, field in model.model_fields.items():
        if _is_tag(name, field):
            continue
        path = f"{prefix}{name}"
        inner = _models(field.annotation)
        default = field.default if given is None else getattr(given, name)
        yield f"{path}  ({_kind(field)}{_default(field, default)})"
        yield f"    {' '.join((field.description or '').split())}"
        room = frozenset(inner)
        if len(room) > 1 and rooms.setdefault(room, path) != path:
            yield f"    Its entries are those of `{rooms[room]}`."
            continue
        many = _MANY.get(str(get_origin(field.annotation)), ("", ""))[0] if inner else ""
        for entry in inner:
            tag = entry.model_fields.get("name")
            if tag is not None and _is_tag("name", tag):
                yield f"  {path}.{many}name: {tag.default}"
            inside = default if isinstance(default, entry) else None
            yield from _listed(entry, f"{path}.{many}", inside, rooms)


def _is_tag(name: str, field: FieldInfo) -> bool:
    """Whether it is the literal `name` that tells the entries of a room apart."""
    return name == "name" and get_origin(field.annotation) is Literal


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _kind(field: FieldInfo) -> str:
    if _models(field.annotation):
        return _MANY.get(str(get_origin(field.annotation)), ("", "section"))[1]
    text = str(field.annotation) if get_args(field.annotation) else str(field.annotation.__name__)  # type: ignore[union-attr]
    bounds = [
        f"{sign} {getattr(rule, key)}"
        for rule in field.metadata
        for key, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if hasattr(rule, key)
    ]
    return ", ".join([text.replace("typing.", ""), *bounds])


def _default(field: FieldInfo, default: object) -> str:
    if field.is_required():
        return ", required"
    if isinstance(default, BaseModel) or field.default_factory is not None:
        return ""
    return f", default {json.dumps(default, default=str)}"
