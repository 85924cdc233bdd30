"""The search: Ray Tune runs the trials, Optuna proposes, the desk has the work done, the store keeps it.

A search is a pure function of its space, its seed, the number of trials at once and what trials find; and what
they find is stored. So whatever died, the same call goes on: finished trials are replayed from the store in
moments, and the study ends as if nothing had happened. (On a GPU rows keep to float tolerance only, so there that
holds for what was stored.) Tune's own state is not read again: it is pickled.
"""

from __future__ import annotations

import math
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError

from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.distributed.actor_pool import ActorPoolError
from inversionlab.distributed.cluster import HEAD, Gpus, connect, use_gpus
from inversionlab.distributed.progress import Log, Say
from inversionlab.distributed.run_record import describe
from inversionlab.experiment import Experiment
from inversionlab.pipeline.session import Session, open_experiment
from inversionlab.store.storage import Storage
from inversionlab.tuning.pruner import DeterministicHalving
from inversionlab.tuning.searcher import SamplerName, make_searcher
from inversionlab.tuning.space import SearchSpace, check_space, experiment_at
from inversionlab.tuning.space import describe as describe_space
from inversionlab.tuning.space_fit import check_fit
from inversionlab.tuning.trial import trial
from inversionlab.tuning.trial_progress import TrialProgress
from inversionlab.tuning.trial_runner import AttacksFailedError, TrialRunner

CALLS = 100
"""Calls that the desk takes at once beside one a trial."""


class SearchError(RuntimeError):
    """What all trials need could not be made; what was finished is stored."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How a search is run."""

    trials: int
    """Settings to try, the start points among them."""
    max_concurrent: int = 4
    """Trials at once; also how many trials' results a proposal does without, so it belongs to the study."""
    sampler: SamplerName = "tpe"
    single: bool = False
    """Minimise `score` alone, and stop hopeless trials early by successive halving."""
    step_targets: int = 5
    """Targets that a trial attacks between two reports."""
    time_budget: float | None = None
    """Seconds after which no trial goes on."""


@dataclass(frozen=True)
class Ended:
    """How a trial ended."""

    number: int
    settings: Mapping[str, Any]
    targets: int
    """Targets that it attacked."""
    fault: str
    stopped: bool
    """Whether successive halving ended it."""


@dataclass(frozen=True)
class Outcome:
    """A search that was run: what the record is made from."""

    name: str
    session: Session
    space: SearchSpace
    options: SearchOptions
    trials: Sequence[Ended]
    gpus: Gpus
    timings: Mapping[str, float]
    summary: Mapping[str, Any]
    """What the desk says at the end: timeline."""


def search(
    experiment: Experiment,
    space: SearchSpace,
    options: SearchOptions,
    root: str,
    say: Say = print,
    *,
    resume: bool = False,
) -> Outcome:
    """Run a search on the storage `root`; the same call after any interruption goes on.

    Args:
        experiment: what the trials are variations of.
        space: what is varied.
        options: how.
        root: local path or URI.
        say: hears of progress.
        resume: refuse if this very search was never begun there.

    Raises:
        ConfigError: space and recipe, or space and data, do not fit; or there is nothing to resume.
        SearchError, TrainingError: what all trials need cannot be made.
    """
    check_space(space, experiment)
    base = experiment_at(experiment, {})
    name = search_name(base, space, options)
    storage = Storage(root)
    began_file = f"searches/{name}/begun.json"
    if resume and not storage.exists(began_file):
        known = ", ".join(storage.folders("searches")) or "none"
        raise ConfigError(
            f"--resume: {storage.root} holds no search `{name}` (there are: {known}); recipe, --set, space, "
            "--max-concurrent, --sampler, --step-targets and --single must be as they were"
        )
    log = Log(say)
    began = time.monotonic()
    say("[1/4] data: reading the pictures")
    session = open_experiment(base, storage)
    session.builder.check()
    check_fit(space, session)
    say(f"      {describe(session)}")
    storage.write_json(began_file, {"experiment": base.model_dump(mode="json")})
    log.timed("data", began)
    connect()
    gpus = use_gpus(base.runtime)
    runner = _desk(session, space, options, gpus)
    began = time.monotonic()
    say("[2/4] baseline: the networks that all trials share, and the undefended victim")
    try:
        _ask(runner.baseline.remote())
    except (AttacksFailedError, ActorPoolError, RayActorError) as error:
        raise SearchError(f"the undefended victim could not be attacked: {error}") from error
    log.timed("baseline", began)
    began = time.monotonic()
    say(f"[3/4] search: {options.trials} trials, {options.max_concurrent} at once")
    trials = _tune(session, name, space, options, runner, say)
    log.timed("search", began)
    summary = _summary(runner)
    return Outcome(name, session, space, options, trials, gpus, log.timings, summary)


def search_name(experiment: Experiment, space: SearchSpace, options: SearchOptions) -> str:
    """The search's name: equal for all calls that end in the same study; more trials only lengthen it."""
    plain = experiment.model_dump(mode="json")
    decisive = {
        "experiment": {k: v for k, v in plain.items() if k not in ("runtime", "name", "headline")},
        "space": describe_space(space),
        "objectives": dict(space.objectives),
        "constraints": dict(space.constraints),
        "options": [
            options.max_concurrent,
            options.sampler,
            options.single,
            options.step_targets,
        ],
    }
    return f"{experiment.name}-{space.module}-{fingerprint(decisive)[:8]}"


def _desk(session: Session, space: SearchSpace, options: SearchOptions, gpus: Gpus) -> Any:
    actor = ray.remote(TrialRunner).options(
        num_cpus=0,
        resources={HEAD: 0.001},
        max_concurrency=options.max_concurrent + CALLS,
        max_restarts=-1,
        max_task_retries=3,
    )
    return actor.remote(session.spec, dict(space.constraints), options.step_targets, gpus)


def _ask(ref: Any) -> Any:
    """A call's result; the desk's own errors as they were raised there."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise getattr(error, "cause", None) or error from error


def _summary(runner: Any) -> dict[str, Any]:
    """What the desk noted; a desk that has died meanwhile takes only that along."""
    try:
        summary: dict[str, Any] = _ask(runner.summary.remote())
        ray.kill(runner)
    except RayActorError:
        return {"timeline": []}
    return summary


def _tune(
    session: Session, name: str, space: SearchSpace, options: SearchOptions, runner: Any, say: Say
) -> list[Ended]:
    steps = math.ceil(len(session.plan.targets) / options.step_targets)
    halving = DeterministicHalving("score", options.max_concurrent) if options.single else None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Ctrl-C must end the search here, not leave Tune with half of the trials called finished.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    tuner = tune.Tuner(
        # The head node has this resource; no CPU is held, so that the trials' own work has them all.
        tune.with_resources(tune.with_parameters(trial, runner=runner, steps=steps), {HEAD: 0.001}),
        tune_config=tune.TuneConfig(
            search_alg=make_searcher(
                space,
                single=options.single,
                sampler=options.sampler,
                seed=session.experiment.seed,
                max_concurrent=options.max_concurrent,
            ),
            num_samples=options.trials,
            max_concurrent_trials=options.max_concurrent,
            scheduler=halving,
            time_budget_s=options.time_budget,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}",
            storage_path=session.store.storage.uri(f"searches/{name}/tune"),
            verbose=0,
            callbacks=[TrialProgress(options.trials, say)],
        ),
    )
    grid = tuner.fit()
    # Tune keeps the trials in the order in which they were proposed.
    stopped = halving.stopped if halving is not None else set()
    return [_ended(n, grid[n], stopped=n in stopped) for n in range(len(grid))]


def _ended(number: int, result: Any, *, stopped: bool) -> Ended:
    metrics = result.metrics or {}
    return Ended(
        number=number,
        settings=dict(result.config or {}),
        targets=int(metrics.get("targets", 0)),
        fault=_last_line(result.error) if result.error is not None else "",
        stopped=stopped,
    )


def _last_line(error: Exception) -> str:
    """The line of a trial's traceback that says what was wrong: the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
