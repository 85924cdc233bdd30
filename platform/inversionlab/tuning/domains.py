"""Ray Tune's domains as plain data, which a record can hold and from which Optuna's distributions are made."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from ray.tune.search.sample import (
    Categorical,
    Domain,
    Float,
    Integer,
    LogUniform,
    Quantized,
    Uniform,
)

from inversionlab.core.yaml_io import cut

LARGEST = sys.float_info.max
"""The largest number of a search: trials and records hold floats."""
MOST_STEPS = 1e9
"""Steps that a quantised domain may have; Optuna counts with 28 digits, and nobody tries as many."""

Kind = dict[str, Any]
"""A domain as plain data: {"kind": "float" | "int", "low", "high" (both inclusive), "log"} with "step" where
it is quantised, or {"kind": "choice", "values"}."""


def kind_of(domain: Any) -> Kind:
    """A Tune domain as plain data.

    Raises:
        ValueError: it is none that a search can use; the text says what would be right.
    """
    if not isinstance(domain, Float | Integer | Categorical):
        raise ValueError(
            "is no domain of a search; take tune.uniform, loguniform, quniform, randint, lograndint, "
            "qrandint or choice"
        )
    sampler: Any = domain.sampler or Uniform()
    if isinstance(domain, Categorical):
        if not isinstance(sampler, Uniform):
            raise ValueError("must be tune.choice")
        return {"kind": "choice", "values": _choices(domain.categories)}
    step = None
    if isinstance(sampler, Quantized):
        sampler, step = sampler.sampler, sampler.q
    log = isinstance(sampler, LogUniform)
    if not (log or isinstance(sampler, Uniform)) or (log and step is not None):
        raise ValueError("must be uniform (also in steps) or log-uniform (without steps)")
    return _range(domain, log, step)


def ends(kind: Kind) -> list[Any]:
    """The values between which (or among which) a domain draws: both ends, or every choice."""
    return list(kind["values"]) if kind["kind"] == "choice" else [kind["low"], kind["high"]]


def inside(kind: Kind, value: Any) -> bool:
    """Whether a domain can draw `value`; 1 is no choice where the choice is 1.0 or true."""
    if kind["kind"] == "choice":
        return any(type(v) is type(value) and v == value for v in kind["values"])
    if not is_number(value) or (kind["kind"] == "int" and not isinstance(value, int)):
        return False
    step = kind.get("step")
    return kind["low"] <= value <= kind["high"] and (step is None or _is_multiple(value, step))


def in_words(kind: Kind) -> str:
    """A domain in words: "uniform 0.05 to 1", "whole numbers 1 to 9", "one of 20, 40"."""
    if kind["kind"] == "choice":
        return "one of " + ", ".join(str(v) for v in kind["values"])
    how = "log-uniform" if kind["log"] else "uniform"
    if kind["kind"] == "int":
        how = "whole numbers, log-uniform," if kind["log"] else "whole numbers"
    steps = f" in steps of {kind['step']:g}" if "step" in kind else ""
    return f"{how} {kind['low']:.10g} to {kind['high']:.10g}{steps}"


def name_of(domain: Any) -> str:
    """What an error text calls something that should be a domain."""
    return in_short(domain, _domain_text) if isinstance(domain, Domain) else in_short(domain)


def in_short(value: Any, text_of: Callable[[Any], str] = repr) -> str:
    """A value as an error text quotes it, whatever its length."""
    try:
        text = text_of(value)
    except ValueError:
        # Python writes no whole number of more than 4300 digits.
        return f"({type(value).__name__}, too long to show)"
    return cut(text)


def is_number(value: Any) -> bool:
    """Whether it is a finite number that a float can hold (true and false are none)."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -LARGEST <= value <= LARGEST
    )


def _domain_text(domain: Domain) -> str:
    return f"{type(domain).__name__}{domain.domain_str}"


def _range(domain: Float | Integer, log: bool, step: float | None) -> Kind:
    whole = isinstance(domain, Integer)
    # Ray's upper bound of whole numbers is exclusive, unless they go in steps.
    low, high = domain.lower, domain.upper - (1 if whole and step is None else 0)
    if not all(is_number(x) and (not whole or isinstance(x, int)) for x in (low, high)):
        number = "whole" if whole else "finite"
        raise ValueError(f"the bounds must be {number} numbers, {LARGEST:.2g} at most")
    if low > high or (log and low <= 0):
        above = " and above 0" if log else ""
        raise ValueError(f"the lower bound must lie below the upper one{above}")
    if step is not None:
        _refuse_step(step, low, high, whole)
    if not whole:
        low, high = float(low), float(high)
    kind = {"kind": "int" if whole else "float", "low": low, "high": high, "log": log}
    return kind | ({} if step is None else {"step": step})


def _refuse_step(step: Any, low: float, high: float, whole: bool) -> None:
    number = "whole" if whole else "finite"
    if not is_number(step) or step <= 0 or (whole and not isinstance(step, int)):
        raise ValueError(f"the step {in_short(step)} must be a {number} number above 0")
    steps = (float(high) - float(low)) / step
    if steps > MOST_STEPS:
        raise ValueError(
            f"the step {step:g} makes {steps:.2g} steps; {MOST_STEPS:g} at most, or leave the steps out"
        )
    # Tune counts steps from 0, Optuna from the lower bound: both agree where the bounds are multiples.
    if not all(_is_multiple(x, step) for x in (low, high)):
        raise ValueError(f"the step {step:g} must be above 0 and both bounds multiples of it")


def _choices(values: list[Any]) -> list[Any]:
    if not values or not all(isinstance(v, bool | str) or is_number(v) for v in values):
        raise ValueError(
            f"the choices must be one or more numbers ({LARGEST:.2g} at most), texts, true or false"
        )
    if len(set(values)) < len(values):
        raise ValueError("a choice is there twice; each once")
    return list(values)


def _is_multiple(value: float, step: float) -> bool:
    steps = value / step
    return math.isfinite(steps) and math.isclose(steps, round(steps), abs_tol=1e-9)
