"""Runs in a trial's process: asks the trial runner for each step and reports the result.

A trial holds none of the resources that its work needs: attack workers attack, Ray Train trains. So any number of
trials can run on any cluster. Only this file is imported in a trial's process, so it must import nothing heavy.
"""

from typing import Any

import ray
from ray import tune


def trial(config: dict[str, Any], *, runner: Any, steps: int) -> None:
    """Attack with one setting, one share of the targets after the other.

    Args:
        config: dotted path -> value.
        runner: the actor that does the work. If it dies, Ray restarts it and repeats the call; finished work is
            in the store.
        steps: number of shares of the targets.
    """
    for step in range(steps):
        tune.report(ray.get(runner.step.remote(dict(config), step)))
