"""The domains of a search space: Ray Tune's in the module, plain data in the record, Optuna's in the search."""

import math
import sys
from collections.abc import Mapping
from typing import Any

from optuna import distributions
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
"""The largest number in a search: trials and records hold floats."""
MAX_STEPS = 1e9
"""Steps of a quantized domain at most: Optuna counts them with 28 digits."""

Kind = dict[str, Any]
"""A domain as plain data: {"kind": "float" | "int", "low", "high" (both inclusive), "log"}, with "step" where it
is quantized, or {"kind": "choice", "values"}. A search's name is a hash of it, so numbers stay as written, where
Optuna's distributions would turn a step of 1 into 1.0."""


def kind_of(domain: Any) -> Kind:
    """A Tune domain as plain data.

    Raises:
        ValueError: a search cannot use it; the text says what would be right.
    """
    if not isinstance(domain, Float | Integer | Categorical):
        raise ValueError(
            "is not a domain of a search; take tune.uniform, loguniform, quniform, randint, lograndint, qrandint "
            "or choice"
        )
    sampler: Any = domain.sampler or Uniform()
    step = sampler.q if isinstance(sampler, Quantized) else None
    log = isinstance(sampler, LogUniform)
    if not log and not isinstance(sampler.sampler if step is not None else sampler, Uniform):
        raise ValueError("must be uniform (also in steps) or log-uniform (without steps)")
    if isinstance(domain, Categorical):
        _check_choices(domain.categories)
        return {"kind": "choice", "values": list(domain.categories)}
    whole = isinstance(domain, Integer)
    # Tune's upper bound of whole numbers is exclusive, unless they go in steps.
    low, high = domain.lower, domain.upper
    if whole and step is None and isinstance(high, int):
        high -= 1
    if not all(is_number(x) and (not whole or isinstance(x, int)) for x in (low, high)):
        number = "whole" if whole else "finite"
        raise ValueError(f"the bounds must be {number} numbers, {LARGEST:.2g} at most")
    kind: Kind = {"kind": "int", "low": low, "high": high, "log": log}
    if not whole:
        kind |= {"kind": "float", "low": float(low), "high": float(high)}
    if step is not None:
        _check_step(step, low, high, whole)
        kind["step"] = step
    distribution(kind)
    return kind


def distribution(kind: Mapping[str, Any]) -> distributions.BaseDistribution:
    """Optuna's distribution of a domain.

    Raises:
        ValueError: the bounds are the wrong way round.
    """
    if kind["kind"] == "choice":
        return distributions.CategoricalDistribution(kind["values"])
    bounds = kind["low"], kind["high"]
    if kind["kind"] == "int":
        return distributions.IntDistribution(*bounds, kind["log"], kind.get("step", 1))
    return distributions.FloatDistribution(*bounds, kind["log"], kind.get("step"))


def inside(kind: Kind, value: Any) -> bool:
    """Whether a search can draw `value`; 1 does not count as the choice 1.0 or true."""
    if kind["kind"] == "choice":
        return any(type(v) is type(value) and v == value for v in kind["values"])
    if not is_number(value) or (kind["kind"] == "int" and not isinstance(value, int)):
        return False
    return kind["low"] <= value <= kind["high"] and _is_multiple(value, kind.get("step"))


def in_words(kind: Kind) -> str:
    """A domain in words: "uniform 0.05 to 1", "whole numbers 1 to 9", "one of 20, 40"."""
    if kind["kind"] == "choice":
        return "one of " + ", ".join(str(v) for v in kind["values"])
    how = "log-uniform" if kind["log"] else "uniform"
    if kind["kind"] == "int":
        how = "whole numbers, log-uniform," if kind["log"] else "whole numbers"
    steps = f" in steps of {kind['step']:g}" if "step" in kind else ""
    return f"{how} {kind['low']:.10g} to {kind['high']:.10g}{steps}"


def quoted(value: Any) -> str:
    """A value, or a domain, as an error message quotes it, cut to a readable length."""
    try:
        if isinstance(value, Domain):
            return cut(f"{type(value).__name__}{value.domain_str}")
        return cut(repr(value))
    except ValueError:
        # Python writes no whole number of more than 4300 digits.
        return f"({type(value).__name__}, too long to show)"


def is_number(value: Any) -> bool:
    """Whether it is a finite number that a float can hold; true and false are not numbers."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -LARGEST <= value <= LARGEST
    )


def _check_step(step: Any, low: float, high: float, whole: bool) -> None:
    number = "whole" if whole else "finite"
    if not is_number(step) or step <= 0 or (whole and not isinstance(step, int)):
        raise ValueError(f"the step {quoted(step)} must be a {number} number above 0")
    steps = (float(high) - float(low)) / step
    if steps > MAX_STEPS:
        raise ValueError(
            f"the step {step:g} makes {steps:.2g} steps; {MAX_STEPS:g} at most, or leave the steps out"
        )
    # Tune counts steps from 0, Optuna from the lower bound: both agree where the bounds are multiples.
    if not (_is_multiple(low, step) and _is_multiple(high, step)):
        raise ValueError(f"the step {step:g} must be above 0 and both bounds multiples of it")


def _check_choices(values: list[Any]) -> None:
    if not values or not all(isinstance(v, bool | str) or is_number(v) for v in values):
        raise ValueError(
            f"the choices must be one or more numbers ({LARGEST:.2g} at most), texts, true or false"
        )
    if len(set(values)) < len(values):
        raise ValueError("a choice appears twice; list each once")


def _is_multiple(value: float, step: float | None) -> bool:
    if step is None:
        return True
    steps = value / step
    return math.isfinite(steps) and math.isclose(steps, round(steps), abs_tol=1e-9)
