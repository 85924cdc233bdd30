"""The JMESPath expression that finds the scores in an endpoint's answers.

It is checked before anything is sent, since an answer that it fails on has been paid for. jmespath itself compiles
expressions that no answer fits: functions that do not exist, a step of 0, and `&x`, which is no JSON.
"""

from typing import Any

from inversionlab.core.settings import ConfigError

DEEPEST = 100
"""Levels of an expression at most; jmespath would reach the depth of Python's stack at a few hundred."""
TAKE_EXPRESSIONS = ("map", "max_by", "min_by", "sort_by")
"""The functions to which `&x` may go."""


class Expression:
    """What `victim.endpoint.answer` says, compiled."""

    def __init__(self, text: str) -> None:
        """Compile an expression.

        Raises:
            ConfigError: it is not a JMESPath expression or one that fails on any answer, or jmespath is not
                installed.
        """
        try:
            import jmespath
        except ImportError as error:
            raise ConfigError(
                "victim.endpoint: reading its answers needs jmespath; pip install 'inversionlab[endpoint]'"
            ) from error
        self.place = f"victim.endpoint.answer = {text}"
        """The key and the value, for messages."""
        try:
            self._compiled = jmespath.compile(text)
        except jmespath.exceptions.JMESPathError as error:
            raise ConfigError(f"{self.place}: is not a JMESPath expression: {error}") from error
        except RecursionError as error:
            raise ConfigError(f"{self.place}: {_TOO_DEEP}") from error
        if fault := _fault(self._compiled.parsed):
            raise ConfigError(f"{self.place}: {fault}")

    def search(self, value: Any) -> Any:
        """What it finds in the JSON value of an answer, as a JSON value; None: nothing.

        Raises:
            Exception: an error of jmespath's, or one of Python's that jmespath does not catch.
        """
        return self._compiled.search(value)


_TOO_DEEP = (
    f"is nested more than {DEEPEST} levels deep; a short expression such as `scores` will do"
)


def _fault(tree: Any) -> str:
    """What is wrong with a compiled expression whatever is answered; "" if nothing."""
    from jmespath.functions import Functions

    level = [("", tree)]
    for _ in range(DEEPEST):
        for parent, node in level:
            kind, name = node["type"], node.get("value")
            if kind == "expref" and parent not in TAKE_EXPRESSIONS:
                functions = ", ".join(f"`{function}`" for function in TAKE_EXPRESSIONS)
                return f"`&` makes an argument of {functions}, and no value by itself; leave it out"
            if kind == "slice" and node["children"][2] == 0:
                return "goes in steps of 0; `[::1]` takes every entry"
            if kind == "function_expression" and name not in Functions.FUNCTION_TABLE:
                return f"`{name}` is no function of JMESPath; see https://jmespath.org"
        level = [
            (node.get("value") if node["type"] == "function_expression" else "", child)
            for _, node in level
            for child in node["children"]
            if isinstance(child, dict)
        ]
        if not level:
            return ""
    return _TOO_DEEP
