"""The main job: data, trainings, measurements, attacks, record. What is stored is not done again."""

import time

from inversionlab.distributed.actor_pool import Failure
from inversionlab.distributed.cluster import connect, use_gpus
from inversionlab.distributed.live_victim import SharedEndpoint, share_live
from inversionlab.distributed.progress import Log, Say, ShardProgress
from inversionlab.distributed.run_record import cost, describe, store_real, write_record
from inversionlab.distributed.scheduler import Scheduler
from inversionlab.distributed.work_items import MeasureEvaluator, WorkItem
from inversionlab.experiment import Experiment
from inversionlab.given.ledger import BudgetError
from inversionlab.given.live import Live
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.given_record import given_victim_record
from inversionlab.pipeline.session import Session, store_given
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
        BudgetSpentError: an endpoint's budget of queries did not suffice.
        AuditError: a work item failed; everything else is stored.
    """
    log = Log(say)
    began = time.monotonic()
    say("[1/4] data: reading the pictures")
    session = begin(experiment, Storage(root), live)
    say(f"      {describe(session)}")
    checked = []
    for line in check_victim(session, force=force):
        checked.append(line)
        say(f"      {line}")
    given = given_victim_record(session, checked)
    store_given(session)
    log.timed("data", began)
    connect()
    session = share_live(session)
    gpus = use_gpus(experiment.runtime)
    with Scheduler(experiment.runtime, gpus) as scheduler:
        began = time.monotonic()
        missing = [spec.title for spec in scheduler.missing(session)]
        titles = f": {', '.join(missing)}" if missing else ""
        total = len(session.plan.specs)
        say(f"[2/4] train: {len(missing)} of {total} networks to train{titles}")
        trained = scheduler.train(session)
        log.timed("train", began)
        began = time.monotonic()
        failures = _attack(session, scheduler, say)
        log.timed("attack", began)
    say("[4/4] report: writing the run's record")
    costs = cost(session, trained, scheduler.attack_seconds, gpus)
    run = write_record(session, log.timings, trained, costs, scheduler.timeline, given)
    if any(failure.reason.startswith(BudgetError.__name__) for failure in failures):
        live = session.builder.live
        queries = f" ({live().status()})" if isinstance(live, SharedEndpoint) else ""
        raise BudgetSpentError(
            f"the endpoint's budget of queries is spent{queries}: {len(failures)} work items are not done; all "
            f"other rows are stored in run {run}. With a larger victim.endpoint.budget the same command goes on, "
            "and asks nothing twice",
            run,
        )
    if failures:
        raise AuditError(_explain(session, failures, run), run)
    return run


def _attack(session: Session, scheduler: Scheduler, say: Say) -> list[Failure[WorkItem]]:
    """Measure and attack whatever the store lacks."""
    store_real(session)
    missing_work = scheduler.missing_work(session, session.plan.cells)
    todo, cells = missing_work.jobs, len(session.plan.work)
    stored = cells * len(session.plan.targets) * session.experiment.targets.repeats - todo
    say(f"[3/4] attack: {todo} reconstructions over {cells} cells; {stored} are stored already")
    live = session.builder.live
    note = live().status if isinstance(live, SharedEndpoint) else str
    return scheduler.attack(missing_work, ShardProgress(todo, say, note=note)).wait()


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
