"""YAML for recipes: ruamel.yaml reads and writes it, and only plain values pass.

A value is a mapping with text keys, a list, a text, a number, a truth value or null: no dates, bytes, sets or
objects. Numbers are YAML 1.2's (1e-3 is one, 1:30 is not); yes, no, on and off count as truth values.
"""

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

_PREFIX = "tag:yaml.org,2002:"
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
_RULES = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile("|".join(f"{w}|{w.title()}|{w.upper()}" for w in _TRUE + _FALSE)),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
}
"""What an unquoted text is. The first rule that matches decides, so 3 is an int before it is a float."""
_KINDS = {"bool": "neither true nor false", "int": "not a whole number", "float": "not a number"}
"""The description of a text with such a tag that the rule does not match."""
_LONGEST_INT = 100
"""Characters in a whole number; no setting needs more, and Python itself refuses to read 5000 digits."""
DEEPEST = 50
"""Levels of nesting; a few hundred overflow the stack of ruamel.yaml and json, whose errors name no place."""
_LARGEST = 100_000
"""Values in a text with its aliases written out; a few lines of nested aliases could fill any memory."""


class _Resolver(VersionedResolver):
    """Determines the type of an unquoted text by `_RULES`, in reading and in writing."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Tag:
        """The tag of a node that has none of its own."""
        if kind is ScalarNode and implicit[0]:
            for name, rule in _RULES.items():
                if rule.fullmatch(value):
                    return Tag(suffix=_PREFIX + name)
        return super().resolve(kind, value, (False, False))  # type: ignore[no-any-return]


def _yaml() -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Resolver
    return yaml


def parse_yaml(text: str) -> Any:
    """The plain value of a YAML text with one document.

    Raises:
        YAMLError: the text is not YAML, holds an object, repeats a key, holds itself, or is too deep or large.
    """
    yaml = _yaml()
    yaml.composer.warn_double_anchors = False  # `_Reader` refuses them.
    try:
        node = yaml.compose(text)
        return None if node is None else _Reader().read(node)
    except RecursionError as error:
        raise YAMLError(f"values are nested more than {DEEPEST} deep") from error
    except (ValueError, LookupError, ArithmeticError, AssertionError) as error:
        # ruamel.yaml lets a few of these through, as for the character "\UFFFFFFFF" or `%YAML 1.3`.
        raise YAMLError(f"a part of it cannot be read ({error})") from error


def dump_yaml(value: Any, width: int = 80, *, compact: bool = False) -> str:
    """A plain value as YAML that `parse_yaml` reads as the same value; keys keep their order.

    With `compact`, a mapping or list of single values stands in braces or brackets: {name: none}.
    """
    yaml = _yaml()
    yaml.default_flow_style = None if compact else False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = width
    sink = io.StringIO()
    yaml.dump(value, sink)
    return sink.getvalue()


class _Reader:
    """Turns ruamel's nodes into plain values. It calls no constructor, so no text can make an object."""

    def __init__(self) -> None:
        self._open: list[Node] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def read(self, node: Node) -> Any:
        """The value of a node; an alias gives a copy of what it names.

        Raises:
            YAMLError: it is not plain, repeats an anchor, holds itself, or is too deep or too large.
        """
        self._count += 1
        if node in self._open:
            raise _fault("an anchor holds itself: a value cannot stand inside itself", node)
        if self._count > _LARGEST:
            raise _fault(f"with its aliases this holds more than {_LARGEST:,} values", node)
        if len(self._open) == DEEPEST:
            raise _fault(f"values are nested more than {DEEPEST} deep", node)
        if node.anchor and self._anchors.setdefault(node.anchor, node) is not node:
            raise _fault(f"the anchor `{node.anchor}` is given twice", node)
        self._open.append(node)
        kind = str(node.tag).removeprefix(_PREFIX)
        value: Any
        if kind == "map":
            value = self._mapping(node)
        elif kind == "seq" and isinstance(node, SequenceNode):
            value = [self.read(item) for item in node.value]
        elif kind in ("str", *_RULES) and isinstance(node, ScalarNode):
            value = _scalar(kind, node)
        else:
            raise _fault(f"could not determine a constructor for the tag `{node.tag}`", node)
        self._open.pop()
        return value

    def _mapping(self, node: Node) -> dict[str, Any]:
        if not isinstance(node, MappingNode):
            raise _fault("what is tagged `!!map` must be a mapping", node)
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.read(key_node)
            if not isinstance(key, str):
                raise _fault(f"the key {key!r} must be text", key_node)
            # YAML 1.2 has no merge keys, and a merge would hide that a key is given twice.
            if key == "<<":
                raise _fault(
                    "merge keys (`<<`) are not supported; write the settings out, or give a whole value "
                    "with `&name` and take it again with `*name`",
                    key_node,
                )
            if key in value:
                raise _fault(f"the key `{key}` is given twice", key_node)
            value[key] = self.read(value_node)
        return value


def _scalar(kind: str, node: ScalarNode) -> Any:
    """The value of a text node; `kind` is the name of its tag."""
    text = str(node.value)
    if kind == "str":
        return text
    if kind == "null":
        return None
    if not _RULES[kind].fullmatch(text):
        raise _fault(f"`{cut(text)}` is {_KINDS[kind]}", node)
    if kind == "bool":
        return text.lower() in _TRUE
    if kind == "float":
        return float(
            re.sub(r"\.(?=[iInN])", "", text)
        )  # Python writes inf and nan without a point.
    if len(text) > _LONGEST_INT:
        raise _fault(
            f"`{cut(text)}` is too long for a whole number; {_LONGEST_INT} characters at most", node
        )
    # 010 is ten in YAML 1.2, eight in YAML 1.1 and C, and may be the name of a folder: ask.
    if re.fullmatch(r"[-+]?0[0-9]+", text):
        raise _fault(
            f"`{text}` begins with a zero; write {int(text)} for the decimal number, "
            f'0o... for an octal one, or "{text}" in quotes for a text',
            node,
        )
    return int(text, base=0)


def fault_in(error: YAMLError, text: str) -> str:
    """What is wrong with a text, and where, without its line; of one about an endpoint no word is repeated."""
    if not isinstance(error, MarkedYAMLError):
        return str(error)
    said = ", ".join(part for part in (error.context, error.problem) if part)
    if "endpoint" in text:
        said = re.sub(r"`[^`]*`|'[^']*'", "[...]", said)
    mark = error.problem_mark or error.context_mark
    return said if mark is None else f"{said} (line {mark.line + 1}, column {mark.column + 1})"


def _fault(message: str, node: Node) -> MarkedYAMLError:
    return MarkedYAMLError(problem=message, problem_mark=node.start_mark)


def cut(text: str) -> str:
    """A text for a message: whole, or its first 77 characters and "..."."""
    return text if len(text) <= 80 else text[:77] + "..."
