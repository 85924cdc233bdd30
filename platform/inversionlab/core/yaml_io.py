"""YAML as recipes are written in it: plain values, YAML 1.2's numbers, nothing that hides or repeats a key."""

from __future__ import annotations

import re
from typing import Any

import yaml

_INT = re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_FLOAT = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)
_LONGEST_INT = 100
"""Characters of a whole number; no setting needs more, and Python itself refuses to read 5000 digits."""
DEEPEST = 50
"""Levels of a value; beyond a few hundred PyYAML, json and pydantic give up, and not one says where."""
_LARGEST = 1_000_000
"""Values in a text with its aliases written out; a few lines of aliases of aliases could fill any memory."""


class _Loader(yaml.SafeLoader):
    """The safe loader, with YAML 1.2's numbers (1e-3 is one, 1:30 is none), and no key given twice.

    Every value is a mapping, a list, a text, a number, a truth value or null; there are no dates, sets or bytes.
    """

    def construct_document(self, node: yaml.Node) -> Any:
        """The value of the whole text, unless it is endless, too deep or too large."""
        _extent(node, [], {})
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, unless a key is there twice or is no text."""
        # `!!map` can be written before anything.
        if not isinstance(node, yaml.MappingNode):
            raise _refusal("what is tagged `!!map` must be a mapping", node)
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal(f"the key {key!r} must be text", key_node)
            # YAML 1.2 has no merge keys, and a merged key would hide that it is there twice.
            if key == "<<":
                raise _refusal(
                    "merge keys (`<<`) are not supported; write the settings out, or give a whole value "
                    "with `&name` and take it again with `*name`",
                    key_node,
                )
            if key in seen:
                raise _refusal(f"the key `{key}` is given twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """A whole number: decimal, 0o17 or 0x1f."""
        text = str(self.construct_scalar(node))
        if not _INT.fullmatch(text):
            raise _refusal(f"`{cut(text)}` is no whole number", node)
        if len(text) > _LONGEST_INT:
            raise _refusal(
                f"`{cut(text)}` is too long for a whole number; {_LONGEST_INT} characters at most",
                node,
            )
        # Ten to YAML 1.2, eight to YAML 1.1 and to C, a name to whoever has a folder called 010: ask.
        if _LEADING_ZERO.fullmatch(text):
            raise _refusal(
                f"`{text}` begins with a zero; write {int(text)} for the decimal number, "
                f'0o... for an octal one, or "{text}" in quotes for a text',
                node,
            )
        return int(text, base=0)

    def decimal_number(self, node: yaml.ScalarNode) -> float:
        """A number with a point, an exponent, or the tag `!!float`; also .inf and .nan."""
        text = str(self.construct_scalar(node))
        if not _FLOAT.fullmatch(text):
            raise _refusal(f"`{cut(text)}` is no number", node)
        # Python has no point before inf and nan.
        return float(re.sub(r"\.(?=[iInN])", "", text))

    def truth_value(self, node: yaml.ScalarNode) -> bool:
        """True or false, in one of the words that YAML has for them."""
        text = str(self.construct_scalar(node))
        if text.lower() not in self.bool_values:
            raise _refusal(f"`{cut(text)}` is neither true nor false", node)
        return self.bool_values[text.lower()]


def _keep_plain_values() -> None:
    """Leave the loader only the kinds of value that a recipe can hold, with its own numbers."""
    kept = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "str", "seq", "map")}
    made = yaml.SafeLoader.yaml_constructors
    # Under None stands the one that refuses every tag without a constructor.
    _Loader.yaml_constructors = {tag: make for tag, make in made.items() if tag in kept | {None}}
    _Loader.yaml_implicit_resolvers = {
        first: [(tag, rule) for tag, rule in rules if tag.endswith((":null", ":bool"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    # The first rule that fits counts: 3 is an int before it is a float.
    for kind, rule, make in (
        ("int", _INT, _Loader.whole_number),
        ("float", _FLOAT, _Loader.decimal_number),
    ):
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", rule, list("-+0123456789."))
        _Loader.add_constructor(f"tag:yaml.org,2002:{kind}", make)
    _Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.truth_value)


_keep_plain_values()


def _refusal(message: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, message, node.start_mark)


def _extent(
    node: yaml.Node, above: list[yaml.Node], known: dict[yaml.Node, tuple[int, int]]
) -> tuple[int, int]:
    """How many values a node holds with its aliases written out, and how deep they are nested.

    Raises:
        yaml.YAMLError: it stands inside itself, or is too deep or too large.
    """
    if node in above:
        raise _refusal("an anchor holds itself: a value cannot stand inside itself", node)
    if node not in known:
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        inside = [_extent(part, [*above, node], known) for part in parts]
        size = 1 + sum(size for size, _ in inside)
        depth = 1 + max((depth for _, depth in inside), default=0)
        if size > _LARGEST:
            raise _refusal(f"with its aliases this holds more than {_LARGEST} values", node)
        if depth > DEEPEST:
            raise _refusal(f"values are nested more than {DEEPEST} deep", node)
        known[node] = size, depth
    return known[node]


def parse_yaml(text: str) -> Any:
    """The value of a YAML text: plain values only, no objects.

    Raises:
        yaml.YAMLError: it is no YAML, names an object, gives a key twice, or holds itself.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise yaml.YAMLError(f"values are nested more than {DEEPEST} deep") from error
    except (ValueError, LookupError, ArithmeticError) as error:
        # PyYAML lets some through, as for the character "\UFFFFFFFF".
        raise yaml.YAMLError(f"a part of it cannot be read ({error})") from error


class _Dumper(yaml.SafeDumper):
    """The safe dumper, with a text in quotes wherever the loader would take it for something else."""

    def text(self, value: str) -> yaml.ScalarNode:
        """A text that is read as this text."""
        try:
            plain = parse_yaml(value) == value
        except yaml.YAMLError:
            plain = False
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else "'")


_Dumper.add_representer(str, _Dumper.text)


def dump_yaml(value: Any, width: int = 80) -> str:
    """A plain value as YAML that `parse_yaml` reads as the same, in its own order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)


def cut(text: str) -> str:
    """A text, or its beginning where it is long, for a message."""
    return text if len(text) <= 80 else text[:77] + "..."
