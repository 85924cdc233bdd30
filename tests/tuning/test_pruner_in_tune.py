"""That Ray Tune does what the halving says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray import tune

from inversionlab.tuning.pruner import DeterministicHalving

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def test_hopeless_trials_are_stopped(tmp_path: Path) -> None:
    def climb(config: dict[str, Any]) -> None:
        for _ in range(3):
            tune.report({"score": config["score"]})

    halving = DeterministicHalving("score", 1)
    scores = [0.5, 0.4, 0.6, 0.9, 0.1]
    grid = tune.Tuner(
        tune.with_resources(climb, {"CPU": 0.5}),
        param_space={"score": tune.grid_search(scores)},
        tune_config=tune.TuneConfig(scheduler=halving, max_concurrent_trials=1, reuse_actors=True),
        run_config=tune.RunConfig(name="halving", storage_path=str(tmp_path), verbose=0),
    ).fit()
    # 0.9 is compared with three earlier ones, 0.1 with four: of each comparison one may go on.
    assert halving.stopped == {3}
    done = [grid[i].metrics["training_iteration"] for i in range(len(grid))]  # type: ignore[index]
    assert done == [3, 3, 3, 1, 3]
