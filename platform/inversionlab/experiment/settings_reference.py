"""Lists every setting with its type, default and meaning, read from the settings classes."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inversionlab.core.validation_errors import models_in

_MANY: dict[Any, tuple[str, str]] = {
    tuple: ("N.", "list of sections"),
    dict: ("LABEL.", "sections by label"),
}
"""By the type that holds several sections: the step in their paths, and what the setting is called."""


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
    meanings = _meanings(model)
    for name, field in model.model_fields.items():
        if _is_tag(name, field):
            continue
        path = f"{prefix}{name}"
        sections = models_in(field.annotation)
        step, kind = _MANY.get(get_origin(field.annotation), ("", "section"))
        if not sections:
            kind = _type(field)
        default = field.default if given is None else getattr(given, name)
        if field.is_required():
            kind += ", required"
        elif not isinstance(default, BaseModel) and field.default_factory is None:
            kind += f", default {json.dumps(default, default=str)}"
        yield f"{path}  ({kind})"
        yield f"    {' '.join(meanings.get(name, '').split())}"
        room = frozenset(sections)
        if len(room) > 1 and rooms.setdefault(room, path) != path:
            yield f"    Its entries are those of `{rooms[room]}`."
            continue
        for section in sections:
            tag = section.model_fields.get("name")
            if tag is not None and _is_tag("name", tag):
                yield f"  {path}.{step}name: {tag.default}"
            inside = default if isinstance(default, section) else None
            yield from _listed(section, f"{path}.{step}", inside, rooms)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The text below each setting in the source of its class.

    pydantic would read it for every class at import, though only this list needs it.
    """
    meanings: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not issubclass(kind, BaseModel) or kind is BaseModel:
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(definition, ast.ClassDef)
        for setting, below in pairwise(definition.body):
            match setting, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as text)),
                ):
                    meanings[name] = text
    return meanings


def _is_tag(name: str, field: FieldInfo) -> bool:
    """Whether it is the literal `name` that tells the entries of a room apart."""
    return name == "name" and get_origin(field.annotation) is Literal


def _type(field: FieldInfo) -> str:
    """The type and the bounds of a setting without sections."""
    plain: Any = field.annotation
    text = str(plain) if get_args(plain) else str(plain.__name__)
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(rule, key)}"
        for rule in field.metadata
        for key, sign in signs.items()
        if hasattr(rule, key)
    ]
    return ", ".join([text.replace("typing.", ""), *bounds])
