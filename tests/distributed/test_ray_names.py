"""What Ray's dashboard is told."""

from __future__ import annotations

from typing import Any

import pytest

from inversionlab.distributed import ray_names
from inversionlab.distributed.ray_names import LONGEST, actor_name, job_metadata, task_name
from inversionlab.distributed.work_items import MeasureEvaluator, Shard


def test_no_two_actors_have_the_same_name() -> None:
    names = {actor_name("attack worker") for _ in range(100)}
    assert len(names) == 100
    assert len(actor_name("x" * 1000)) < LONGEST + 20


def test_a_task_is_called_what_it_works_on_after_the_call() -> None:
    context: Any = None
    shard = Shard(context, "0a1b", ((1, 0), (2, 0)), "ppa on none")
    assert task_name(shard) == "AttackWorker.run (ppa on none: 2 reconstructions)"
    assert task_name(Shard(context, "0a1b", ())) == "AttackWorker.run (0a1b: 0 reconstructions)"
    assert task_name(MeasureEvaluator(context, "same")).endswith("(measure evaluator same)")


def test_a_job_names_its_recipe_and_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_names, "commit", lambda: "")
    assert job_metadata("demo", "demo-1") == {
        "program": "inversionlab",
        "recipe": "demo",
        "name": "demo-1",
    }
