"""What runs in a trial's process: it asks the desk for each step and reports what comes back.

A trial holds no resource that its work needs: the desk's crew attacks, Ray Train trains. So any number of
trials may run on any cluster. Nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Any

import ray
from ray import tune


def trial(config: dict[str, Any], *, runner: Any, steps: int) -> None:
    """Attack one setting, a share of the targets after the other.

    Args:
        config: dotted path -> value.
        runner: the actor that has the work done; if it dies, Ray starts it again and repeats the call, and what
            was finished is in the store.
        steps: shares of the targets.
    """
    for step in range(steps):
        tune.report(ray.get(runner.step.remote(dict(config), step)))
