"""What runs in a trial's process: it asks the trial runner for each step and reports what comes back.

A trial holds none of the resources that its work needs: attack workers attack, Ray Train trains. So any number of
trials can run on any cluster. This is a file of its own because a trial's process imports it, and nothing heavy
should come along.
"""

from __future__ import annotations

from typing import Any

import ray
from ray import tune


def trial(config: dict[str, Any], *, runner: Any, steps: int) -> None:
    """Attack with one setting, one share of the targets after the other.

    Args:
        config: dotted path -> value.
        runner: the actor that has the work done. If it dies, Ray restarts it and repeats the call; what was
            finished is in the store.
        steps: shares of the targets.
    """
    for step in range(steps):
        tune.report(ray.get(runner.step.remote(dict(config), step)))
