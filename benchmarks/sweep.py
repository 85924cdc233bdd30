"""What does a sweep that trains nothing cost: 101 values of a defense's strength, after one training?

    python -m benchmarks.sweep

The sweep is an ordinary audit of the tiny experiment, with `defense.alpha` at 0, 0.01, ..., 1. The time of a point
is compared with the same attacks on one model alone, measured by warm workers before and after the sweep, and with
the time that its attacks themselves took.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from tests import tiny

from benchmarks.local_ray import local_ray, trained
from inversionlab.distributed.audit import audit
from inversionlab.distributed.cluster import Gpus
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.experiment import Experiment
from inversionlab.pipeline.session import Session, open_experiment
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Store

ATTACKS = ("pixel_gray_box", "latent_white_box")
TARGETS, REPEATS = 6, 2


def experiment(values: list[float], steps: int) -> Experiment:
    """The tiny experiment with larger pictures, one worker, and a sweep of alpha."""
    changed = {
        "data.image_size": 32,
        "targets": {"count": TARGETS, "repeats": REPEATS},
        "attacks": [{"name": name, "steps": steps} for name in ATTACKS],
        "defense.alpha": values[0],
        "sweep": {"setting": "defense.alpha", "values": values},
    }
    return tiny.experiment(**changed)


def alone(steps: int, root: Path, networks: Path) -> list[float]:
    """Seconds that the attacks on one model take, for a few models, on a storage without rows."""
    root.mkdir()
    (root / "artifacts").symlink_to(networks / "artifacts")
    session = open_experiment(experiment([0.25, 0.5, 0.75], steps), Storage(str(root)))
    models = list(dict.fromkeys(c.protected for c in session.plan.cells if c.protected))
    with Scheduler(session.experiment.runtime, Gpus(train=False, attack=False)) as scheduler:
        # The first model, the undefended victim, starts the worker and has the evaluators measured.
        return [_attack(scheduler, session, model) for model in models][1:]


def _attack(scheduler: Scheduler, session: Session, model: str) -> float:
    """Attack a model; returns the working time of its shards, without the measurements before them."""
    spent: list[float] = []

    def note(jobs: int, seconds: float) -> None:
        if jobs:
            spent.append(seconds)

    cells = [c for c in session.plan.cells if c.protected == model]
    failures = scheduler.attack(scheduler.missing_work(session, cells), note).wait()
    assert not failures, failures[0].reason
    return sum(spent)


def swept(whole: Experiment, root: Path) -> tuple[float, float]:
    """Audit; returns the seconds of its attack stage, and the part that the attacks took by their rows.

    Raises:
        AssertionError: something was trained, or a row is missing.
    """
    storage = Storage(str(root))
    run = audit(whole, str(root))
    record = storage.read_json(f"runs/{run}/run.json")
    networks = [a["role"] for a in record["artifacts"] if a["trained"]]
    assert not networks, f"{networks} were trained"
    store = Store(storage)
    rows = [store.seconds(cell["cell"]) for cell in record["cells"]]
    assert all(len(found) == TARGETS * REPEATS for found in rows), "a row is missing"
    return record["timings"]["attack"], sum(sum(found.values()) for found in rows)


def main() -> None:
    """Run the sweep, with single runs before and after it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=101, help="values of alpha")
    parser.add_argument("--steps", type=int, default=50, help="updates of each attack")
    given = parser.parse_args()
    torch.set_num_threads(1)
    values = [round(n / (given.points - 1), 6) for n in range(given.points)]
    whole = experiment(values, given.steps)
    with local_ray(2) as folder:
        root = folder / "storage"
        trained(whole, root)
        before = alone(given.steps, folder / "before", root)
        stage, attacking = swept(whole, root)
        after = alone(given.steps, folder / "after", root)
    one, point = statistics.median([*before, *after]), stage / given.points
    print(
        f"alpha at {given.points} points, {len(ATTACKS)} attacks, {TARGETS * REPEATS} reconstructions each: "
        f"0 trainings, {stage:.1f} s with one worker, {point:.2f} s a point"
    )
    print(
        f"  the same attacks on one model alone: {one:.2f} s ({min(before):.2f} to {max(before):.2f} before "
        f"the sweep, {min(after):.2f} to {max(after):.2f} after it)"
    )
    print(
        f"  a point takes {point / one:.2f} x as long, accuracy and start of the worker included; "
        f"{attacking / stage:.0%} of the sweep is optimization"
    )


if __name__ == "__main__":
    main()
