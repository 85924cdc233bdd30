"""A training worker: it trains networks one after another, together with the other workers of its group."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed

from inversionlab.core.clock import clock
from inversionlab.core.contracts import as_scoring_model
from inversionlab.core.environment import PROGRESS_SECONDS
from inversionlab.distributed.progress import say_now
from inversionlab.distributed.training_board import BoardWriter
from inversionlab.distributed.training_curves import both, sample_grid, training_curves
from inversionlab.given.endpoint_answers import EndpointError
from inversionlab.given.ledger import BudgetError
from inversionlab.pipeline.artifacts import NetworkCheckpoints
from inversionlab.pipeline.compiled import training_precision
from inversionlab.pipeline.evaluate import recognition
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session, open_session
from inversionlab.pipeline.train import Progress, TrainingError, World, alone, train
from inversionlab.store.storage import StorageError
from inversionlab.tracking.tracking import Tracking


def begun_file(key: str) -> str:
    """The file that exists while a group trains this network and those that come after it."""
    return f"artifacts/{key}/begun.json"


def learn(config: dict[str, Any]) -> str | None:
    """The training loop of each Ray Train worker.

    Args:
        config: `address`, the session's spec; `keys` of the networks to train; `threads` for torch; `run`, the
            name that goes into the cards.

    Returns:
        Why a training cannot go on, where another try would not help; None: all networks are stored.
    """
    from ray import train as ray_train
    from ray.train.torch import get_device

    context = ray_train.get_context()
    device = get_device()
    if device.type == "cuda":
        # Ray does so only where it sets up a process group, which a worker alone has none of.
        torch.cuda.set_device(device)
    torch.set_num_threads(int(config["threads"]))
    session = open_session(config["address"], device)
    size = context.get_world_size()
    world = alone(device)
    if size > 1:
        world = World(context.get_world_rank(), size, device, mean_over_workers)
    artifacts, keys, run = session.artifacts, config["keys"], str(config["run"])
    tracking = Tracking(artifacts.storage, session.spec.log_to, say_now)
    try:
        if world.rank == 0:
            artifacts.storage.write_json(begun_file(keys[0]), {"run": run})
        for spec in session.plan.specs:
            if spec.key not in keys:
                continue
            # Each worker looks at the storage itself; only what all of them find finished is skipped.
            finished = torch.tensor(float(artifacts.finished(spec)), device=device)
            if bool(world.average(finished) == 1):
                continue
            train_network(session, spec, world, run=run, tracking=tracking)
            if size > 1:
                # No worker continues before the network is stored: the next one may need it.
                distributed.barrier()
    except TrainingError as error:
        return str(error)
    except (BudgetError, EndpointError) as error:
        # A network that learns from a model behind an endpoint; all workers ask it the same.
        return f"{type(error).__name__}: {error}"
    except (StorageError, ValueError) as error:
        # Only an exception ends the wait of the other workers for this one.
        if size > 1:
            raise
        return str(error)
    return None


def mean_over_workers(tensor: torch.Tensor) -> torch.Tensor:
    """The mean over the workers, in the place of the tensor."""
    distributed.all_reduce(tensor)
    return tensor.div_(distributed.get_world_size())


def train_network(
    session: Session,
    spec: NetworkSpec,
    world: World,
    *,
    run: str = "",
    tracking: Tracking | None = None,
) -> None:
    """Train a spec's network; rank 0 of `world` stores it, with `run` in its card, and tells `tracking`.

    Raises:
        TrainingError: the training cannot go on.
        StorageError: the storage cannot be written to.
    """
    began = time.monotonic()
    training_job = spec.training_job(session.builder)
    runtime = session.experiment.runtime
    precision = training_precision(runtime, world.device)
    learner, leads = training_job.learner, world.rank == 0
    project = session.experiment.name
    with training_curves(tracking if leads else None, project, spec, learner) as curves:
        trained = train(
            training_job,
            role=spec.role,
            title=spec.title,
            seed=spec.seed,
            world=world,
            checkpoints=NetworkCheckpoints(session.artifacts.storage, spec),
            report=both(_reporter(), curves) if leads else lambda progress: None,
            checkpoint_seconds=runtime.checkpoint_seconds,
            precision=precision,
        )
        # Another run on the same storage may have finished it meanwhile; a network under attack must stay.
        if not leads or session.artifacts.finished(spec):
            return
        metrics = trained.metrics
        product = learner.product().eval().requires_grad_(False)
        accuracy = ""
        if (test := spec.test_pictures(session.builder)) is not None:
            log_scores = as_scoring_model(product).log_scores
            correct_N = recognition(log_scores, test, session.builder.device)
            metrics["test_accuracy"] = float(correct_N.float().mean())
            metrics["test_correct"] = float(correct_N.sum())
            metrics["test_total"] = float(len(correct_N))
            accuracy = f", test accuracy {metrics['test_accuracy']:.1%}"
        if training_job.queries:
            metrics["queries"] = float(training_job.queries)
        seconds = time.monotonic() - began
        card = {
            "seconds": seconds,
            "metrics": metrics,
            "curve": trained.curve.points,
            "pictures": len(training_job.images_NCHW),
            "workers": world.size,
            "cpus": torch.get_num_threads(),
            "device": str(world.device),
            "precision": precision,
            "run": run,
        }
        samples = sample_grid(learner)
        session.artifacts.save(spec, spec.pack(product), card, samples)
        if curves is not None:
            curves.end(metrics, samples)
        say_now(f"[train] {spec.title}: done in {seconds:.0f} s{accuracy}")


def _reporter() -> Callable[[Progress], None]:
    """Prints progress with an estimate, one line every few seconds; Ray carries it to the driver.

    A display that watches gets all of it.
    """
    every, last = PROGRESS_SECONDS.read(), 0.0
    noted = BoardWriter()

    def report(progress: Progress) -> None:
        nonlocal last
        noted(progress)
        now = time.monotonic()
        if now - last < every and progress.epoch < progress.epochs:
            return
        last = now
        losses = ", ".join(f"{k} {v:.3g}" for k, v in progress.losses.items())
        say_now(
            f"[train] {progress.title}: epoch {progress.epoch}/{progress.epochs}, {losses}, "
            f"{clock(progress.seconds_left)} left"
        )

    return report
