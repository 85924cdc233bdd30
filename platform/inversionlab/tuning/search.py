"""The search: Ray Tune runs the trials, Optuna proposes them, and the trial runner does their work.

A search is a pure function of its space, its seed, the number of trials at once and the trials' results, which are
stored. So the same call resumes a search after any fault: finished trials are replayed from the store in moments,
and the study ends as if nothing had happened. (On a GPU rows agree only up to float tolerance, so there this
holds for what was stored.) Tune's own state is never read again, because it is pickled.
"""

import math
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import optuna
import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.logger import JsonLoggerCallback

from inversionlab.core.settings import NAMING, ConfigError, fingerprint
from inversionlab.distributed import own_ray
from inversionlab.distributed.cluster import HEAD, Gpus, connect, refuse_hopeless, use_gpus
from inversionlab.distributed.errors import ActorPoolError
from inversionlab.distributed.live_display import LiveDisplay
from inversionlab.distributed.live_victim import closed_on_error, share_live
from inversionlab.distributed.preparing import PreparesOnRay
from inversionlab.distributed.progress import Log, Say
from inversionlab.distributed.ray_names import actor_name, job_metadata
from inversionlab.distributed.run_record import describe
from inversionlab.distributed.training_board import BoardReader
from inversionlab.distributed.training_curves import store_networks
from inversionlab.experiment import Experiment
from inversionlab.given.ledger import BudgetError
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.session import Session, store_given, with_log_to
from inversionlab.pipeline.victim_check import check_victim
from inversionlab.store.storage import Storage
from inversionlab.tracking.log_to import LogTo
from inversionlab.tracking.tracking import Tracking
from inversionlab.tuning.live_study import LiveStudy
from inversionlab.tuning.pruner import DeterministicHalving
from inversionlab.tuning.searcher import DeterministicSearcher, SamplerName
from inversionlab.tuning.space import SearchSpace, check_space, experiment_at
from inversionlab.tuning.space import describe as describe_space
from inversionlab.tuning.space_fit import check_fit
from inversionlab.tuning.trial import trial
from inversionlab.tuning.trial_curves import TrialCurves, trial_title
from inversionlab.tuning.trial_progress import TrialProgress
from inversionlab.tuning.trial_runner import AttacksFailedError, TrialRunner

EXTRA_CALLS = 100
"""Calls that the trial runner takes at once, in addition to one per trial."""


class SearchError(RuntimeError):
    """Something that all trials need could not be made; finished work is stored."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How a search is run."""

    trials: int
    """Settings to try, including the start points."""
    max_concurrent: int = 4
    """Trials at once. A proposal cannot use the results of that many trials, so it is part of the study."""
    sampler: SamplerName = "tpe"
    single: bool = False
    """Minimize `score` alone, and stop hopeless trials early by successive halving."""
    step_targets: int = 5
    """Targets that a trial attacks between two reports."""
    time_budget: float | None = None
    """Seconds after which no trial continues."""


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended."""

    number: int
    settings: Mapping[str, Any]
    targets: int
    """Number of targets that it attacked."""
    fault: str
    """The last line of its error; "" where it did not fail."""
    stopped: bool
    """Whether successive halving ended it."""


@dataclass(frozen=True)
class SearchOutcome:
    """A search that was run; `search_record` makes its record from this."""

    name: str
    session: Session
    space: SearchSpace
    options: SearchOptions
    trials: Sequence[TrialOutcome]
    gpus: Gpus
    timings: Mapping[str, float]
    """Stage -> seconds."""
    timeline: Sequence[Mapping[str, float]]
    """How the cluster and the work in it changed."""


def search(
    experiment: Experiment,
    space: SearchSpace,
    options: SearchOptions,
    root: str,
    say: Say = print,
    *,
    resume: bool = False,
    log_to: LogTo | None = None,
    display: LiveDisplay | None = None,
) -> SearchOutcome:
    """Run a search on the storage `root`, a local path or URI; after any interruption the same call resumes it.

    The trials are variations of `experiment`. `resume` refuses a search that was never begun there.
    `log_to` names services that are told about trainings and trials. `display` shows bars on a terminal, and then
    `say` is its own.

    Raises:
        ConfigError: space and recipe, or space and data, do not fit; there is nothing to resume; or an objective
            or a constraint is not known of the undefended victim.
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
    job = job_metadata(base.name, name)
    prepare = PreparesOnRay(say, job=job)
    session = with_log_to(begin(base, storage, prepare=prepare), log_to or LogTo())
    with closed_on_error(session):
        for line in check_victim(session):
            say(f"      {line}")
    store_given(session)
    check_fit(space, session)
    say(f"      {describe(session)}")
    storage.write_json(began_file, {"experiment": base.model_dump(mode="json")})
    store_networks(session, name)
    log.timed("data", began)
    worker_says = say if display is None else display.worker_says
    started = prepare.started | connect(worker_says, job=job)
    session = share_live(session)
    gpus = use_gpus(base.runtime)
    if started:
        refuse_hopeless(base.runtime, training=True)
    watched = (
        nullcontext() if display is None else display.trainings(None, BoardReader.start().read)
    )
    with watched:
        trials, timeline = _run(session, name, space, options, gpus, log)
    say(f"      {own_ray.logs_in_words(started)}")
    return SearchOutcome(name, session, space, options, trials, gpus, log.timings, timeline)


def _run(
    session: Session,
    name: str,
    space: SearchSpace,
    options: SearchOptions,
    gpus: Gpus,
    log: Log,
) -> tuple[list[TrialOutcome], list[dict[str, float]]]:
    """The trials that a search has tried, and how the cluster changed meanwhile; raises as `search`."""
    say = log.say
    # The runner and the trials hold no CPU, only this resource of the head node, so their work has all CPUs.
    runner_class = ray.remote(TrialRunner).options(
        num_cpus=0,
        resources={HEAD: 0.001},
        max_concurrency=options.max_concurrent + EXTRA_CALLS,
        max_restarts=-1,
        max_task_retries=3,
        name=actor_name(f"trials of {name}"),
    )
    bounds = dict(space.constraints)
    goals = () if options.single else tuple(space.objectives)
    runner: Any = runner_class.remote(session.spec, bounds, options.step_targets, gpus, goals)
    began = time.monotonic()
    say("[2/4] baseline: the networks that all trials share, and the undefended victim")
    try:
        _result(runner.baseline.remote())
    except (AttacksFailedError, ActorPoolError, RayActorError) as error:
        failure = SearchError(f"the undefended victim could not be attacked: {error}")
        if BudgetError.__name__ in str(error):
            failure.exit_code = BudgetError.exit_code
        raise failure from error
    log.timed("baseline", began)
    began = time.monotonic()
    say(f"[3/4] search: {options.trials} trials, {options.max_concurrent} at once")
    trials = _tune(session, name, space, options, runner, say)
    log.timed("search", began)
    timeline: list[dict[str, float]] = []
    # The trials have ended; a runner that has died takes nothing but the timeline with it.
    with suppress(RayActorError):
        timeline = _result(runner.close.remote())
        ray.kill(runner)
    return trials, timeline


def search_name(experiment: Experiment, space: SearchSpace, options: SearchOptions) -> str:
    """The search's name, equal for all calls that end in the same study; more trials only lengthen the study."""
    how, plain = options, experiment.model_dump(mode="json", context=NAMING)
    decisive: dict[str, Any] = {
        "experiment": {k: v for k, v in plain.items() if k not in ("runtime", "name", "headline")},
        "space": describe_space(space),
        "objectives": dict(space.objectives),
        "constraints": dict(space.constraints),
        "options": [how.max_concurrent, how.sampler, how.single, how.step_targets],
    }
    if experiment.headline != "first":
        # Searches that are older than this setting keep their names.
        decisive["headline"] = experiment.headline
    return f"{experiment.name}-{space.module}-{fingerprint(decisive)[:8]}"


def _result(call: Any) -> Any:
    """The result of a call to the runner; errors that the runner raised are raised here as they are."""
    try:
        return ray.get(call)
    except RayTaskError as error:
        raise getattr(error, "cause", None) or error from error


def _tune(
    session: Session, name: str, space: SearchSpace, options: SearchOptions, runner: Any, say: Say
) -> list[TrialOutcome]:
    steps = math.ceil(len(session.plan.targets) / options.step_targets)
    halving = DeterministicHalving("score", options.max_concurrent) if options.single else None
    modes = {"score": "min"} if options.single else dict(space.objectives)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Ctrl-C must end the search here; otherwise Tune would count half-done trials as finished.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # `TrialCurves` writes for TensorBoard.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # Its box of facts about the search, which `verbose=0` does not silence.
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, runner=runner, steps=steps), {HEAD: 0.001}),
        tune_config=tune.TuneConfig(
            search_alg=DeterministicSearcher(
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
            trial_name_creator=trial_title,
            trial_dirname_creator=trial_title,
        ),
        run_config=tune.RunConfig(
            name=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}",
            storage_path=session.store.storage.uri(f"searches/{name}/tune"),
            verbose=0,
            callbacks=[
                TrialProgress(options.trials, say),
                LiveStudy(session.store.storage, name, space, modes),
                TrialCurves(Tracking(session.store.storage, session.spec.log_to, say), name),
                JsonLoggerCallback(),
            ],
        ),
    )
    grid = tuner.fit()
    # Tune keeps the trials in the order in which they were proposed.
    stopped = halving.stopped if halving is not None else set()
    return [_outcome(n, grid[n], n in stopped) for n in range(len(grid))]


def _outcome(number: int, result: Any, stopped: bool) -> TrialOutcome:
    fault = ""
    if result.error is not None:
        # The last line of a traceback says what was wrong.
        lines = [line.strip() for line in str(result.error).splitlines() if line.strip()]
        fault = lines[-1] if lines else repr(result.error)
    targets = int((result.metrics or {}).get("targets", 0))
    return TrialOutcome(number, dict(result.config or {}), targets, fault, stopped)
