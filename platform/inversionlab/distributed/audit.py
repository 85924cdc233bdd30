"""The main job: data, trainings, measurements, attacks, record. What is stored is not done again."""

import time
from functools import partial

from inversionlab.distributed.actor_pool import Failure
from inversionlab.distributed.cluster import connect, use_gpus
from inversionlab.distributed.live_victim import closed_on_error, endpoint_status, share_live
from inversionlab.distributed.progress import Log, Say, ShardProgress, with_status
from inversionlab.distributed.run_record import cost, describe, store_real, write_record
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.distributed.work_items import MeasureEvaluator, WorkItem
from inversionlab.experiment import Experiment
from inversionlab.given.ledger import BudgetError
from inversionlab.given.live import Live
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.given_record import given_victim_record
from inversionlab.pipeline.session import Session, missing_jobs, store_given
from inversionlab.pipeline.victim_check import check_victim
from inversionlab.store.storage import Storage


class AuditError(RuntimeError):
    """Some work items failed; the text names them, and everything else is stored."""

    exit_code = 1

    def __init__(self, text: str, run: str) -> None:
        """Take the text and the name of the run's folder."""
        super().__init__(text)
        self.run = run


class BudgetSpentError(AuditError):
    """The endpoint's budget of queries did not suffice; what was found until then is stored."""

    exit_code = 3


def audit(
    experiment: Experiment,
    root: str,
    say: Say = print,
    *,
    live: Live | None = None,
    force: bool = False,
) -> str:
    """Run the whole experiment on the storage `root`; returns the name of the run's folder there.

    After any interruption the same call continues where the last one stopped. `live` returns the module of a
    victim that is `live`. `force` attacks a given victim in spite of what `check_victim` finds.

    Raises:
        ConfigError: the data is missing or cannot be split as asked.
        TrainingError: a training cannot go on; networks that were finished before it are stored.
        ActorPoolError: the attack workers die as fast as they are started.
        BudgetSpentError: an endpoint's budget of queries did not suffice for all attacks.
        BudgetError: it did not suffice for what comes before the attacks.
        EndpointError: the endpoint does not answer, or not as it should.
        AuditError: a work item failed; everything else is stored.
    """
    log = Log(say)
    began = time.monotonic()
    say("[1/4] data: reading the pictures")
    session = begin(experiment, Storage(root), live)
    say(f"      {describe(session)}")
    checked = []
    with with_status(say, partial(endpoint_status, session)) as tell, closed_on_error(session):
        for line in check_victim(session, force=force):
            checked.append(line)
            tell(f"      {line}")
    given = given_victim_record(session, checked)
    store_given(session)
    log.timed("data", began)
    connect()
    session = share_live(session)
    gpus = use_gpus(experiment.runtime)
    with Scheduler(experiment.runtime, gpus) as scheduler:
        began = time.monotonic()
        specs = scheduler.missing(session)
        titles = f": {', '.join(spec.title for spec in specs)}" if specs else ""
        total = len(session.plan.specs)
        say(f"[2/4] train: {len(specs)} of {total} networks to train{titles}")
        asked = any(spec.learns_from is not None for spec in specs)
        with with_status(say, partial(endpoint_status, session) if asked else str):
            trained = scheduler.train(session)
        log.timed("train", began)
        began = time.monotonic()
        failures = _attack(session, scheduler, say)
        log.timed("attack", began)
    say("[4/4] report: writing the run's record")
    costs = cost(session, trained, scheduler.attack_seconds, gpus)
    run = write_record(session, log.timings, trained, costs, scheduler.timeline, given)
    if any(failure.reason.startswith(BudgetError.__name__) for failure in failures):
        raise BudgetSpentError(_explain_budget(session, failures, run), run)
    if failures:
        raise AuditError(_explain(session, failures, run), run)
    return run


def _attack(session: Session, scheduler: Scheduler, say: Say) -> list[Failure[WorkItem]]:
    """Measure and attack whatever the store lacks."""
    store_real(session)
    missing_work = scheduler.missing_work(session, session.plan.cells)
    todo, cells = missing_work.jobs, len(session.plan.work)
    stored = _jobs(session) - todo
    say(f"[3/4] attack: {todo} reconstructions over {cells} cells; {stored} are stored already")
    status = partial(endpoint_status, session)
    with with_status(say, status) as tell:
        return scheduler.attack(missing_work, ShardProgress(todo, tell, note=status)).wait()


def _explain_budget(session: Session, failures: list[Failure[WorkItem]], run: str) -> str:
    """How much is not done, and how to continue."""
    left = _left(session)
    others = [f for f in failures if not f.reason.startswith(BudgetError.__name__)]
    more = f"\nBesides, {_explain(session, others, run)}" if others else ""
    return (
        f"the endpoint's budget is spent ({endpoint_status(session)}): {left} of {_jobs(session)} reconstructions "
        f"are not done, all others are stored in run {run}. With a larger budget (--set victim.endpoint.budget=N) "
        f"the audit goes on from there, and asks nothing twice{more}"
    )


def _jobs(session: Session) -> int:
    """Reconstructions of the whole experiment."""
    targets = session.experiment.targets
    return len(session.plan.work) * len(session.plan.targets) * targets.repeats


def _left(session: Session) -> int:
    """Reconstructions that are not stored."""
    cells, targets = session.plan.work.values(), session.plan.targets
    return sum(missing_jobs(session, cell, targets)[1] for cell in cells)


def _explain(session: Session, failures: list[Failure[WorkItem]], run: str) -> str:
    """The first failures, and how to continue."""
    labels = {key: cell.label for key, cell in session.plan.work.items()}
    lines = []
    for failure in failures[:5]:
        item = failure.item
        what = f"evaluator {item.name}" if isinstance(item, MeasureEvaluator) else labels[item.cell]
        lines.append(f"  {what}: {failure.reason}")
    more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
    return (
        f"{len(failures)} work items failed; all other rows are stored in run {run}, and the same command "
        "tries these again:\n" + "\n".join(lines) + more
    )
