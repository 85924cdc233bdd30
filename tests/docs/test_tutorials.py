"""The code of the tutorials runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from inversionlab.core.settings import ConfigError, validate
from inversionlab.pipeline.attack import run_attack
from tests import toys

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"


def blocks(page: str) -> dict[str, Any]:
    """What the Python of a page defines."""
    text = (TUTORIALS / page).read_text()
    names: dict[str, Any] = {"__name__": "tutorial"}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, page, "exec", dont_inherit=True), names)
    return names


def test_the_attack_of_the_tutorial_finds_more_than_a_draw_and_counts_its_queries() -> None:
    made = blocks("add_an_attack.md")
    settings = made["BestDrawSettings"](draws=32)
    jobs = [(target, repeat) for target in range(toys.CLASSES) for repeat in range(2)]
    together = run_attack(made["BestDraw"](settings, toys.context()), toys.victim(), jobs)
    assert together.queries_N.tolist() == [32] * len(jobs)
    single = made["BestDraw"](made["BestDrawSettings"](draws=1), toys.context())
    one = run_attack(single, toys.victim(), jobs)
    assert float(together.result.confidence_N.mean()) > float(one.result.confidence_N.mean())
    # A row does not depend on the others.
    alone = run_attack(made["BestDraw"](settings, toys.context()), toys.victim(), jobs[3:4])
    torch.testing.assert_close(alone.result.images_NCHW[0], together.result.images_NCHW[3])


def test_its_settings_are_refused_as_the_tutorial_says() -> None:
    made = blocks("add_an_attack.md")
    with pytest.raises(ConfigError, match="draws = 0"):
        validate(made["BestDrawSettings"], {"name": "best_draw", "draws": 0}, origin="recipe")
