"""The main job: data, trainings, measurements, attacks, record. What is stored is not done again.

Ray is imported and started only if something is to be done. A finished run goes straight to its record.
"""

import time
from functools import partial
from typing import TYPE_CHECKING

from inversionlab.distributed.live_victim import close_own, closed_on_error, endpoint_status
from inversionlab.distributed.preparing import PreparesOnRay
from inversionlab.distributed.progress import Log, Say, with_status
from inversionlab.distributed.ray_names import job_metadata
from inversionlab.distributed.run_record import (
    WorkDone,
    cost,
    describe,
    reconstructions,
    run_name,
    store_real,
    write_record,
)
from inversionlab.experiment import Experiment
from inversionlab.given.live import Live
from inversionlab.pipeline.endpoint import begin
from inversionlab.pipeline.given_record import given_victim_record
from inversionlab.pipeline.missing import Found, nothing_missing
from inversionlab.pipeline.session import Session, store_given, with_log_to
from inversionlab.pipeline.victim_check import check_victim
from inversionlab.store.storage import Storage
from inversionlab.tracking.log_to import LogTo

if TYPE_CHECKING:
    from inversionlab.distributed.live_display import LiveDisplay


def audit(
    experiment: Experiment,
    root: str,
    say: Say = print,
    *,
    live: Live | None = None,
    force: bool = False,
    display: "LiveDisplay | None" = None,
    log_to: LogTo | None = None,
) -> str:
    """Run the whole experiment on the storage `root`; returns the name of the run's folder there.

    After any interruption the same call continues where the last one stopped. `live` returns the module of a
    victim that is `live`. `force` attacks a given victim in spite of what `check_victim` finds. `say` gets what
    workers print, too. `display` shows bars on a terminal, and then `say` is its own. `log_to` names services that
    are told about trainings.

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
    storage = Storage(root)
    run = run_name(experiment)
    prepare = PreparesOnRay(say, job=job_metadata(experiment.name, run))
    session = begin(experiment, storage, live, prepare=prepare)
    session = with_log_to(session, log_to or LogTo())
    say(f"      {describe(session)}")
    checked = []
    with with_status(say, partial(endpoint_status, session)) as tell, closed_on_error(session):
        for line in check_victim(session, force=force):
            checked.append(line)
            tell(f"      {line}")
    given = given_victim_record(session, checked)
    store_given(session)
    log.timed("data", began)
    found = Found()
    if nothing_missing(session, found):
        done = _nothing_done(session, log)
    else:
        # Imported late: Ray and its training library take seconds.
        from inversionlab.distributed.stages import train_and_attack
        from inversionlab.distributed.training_curves import store_networks

        store_networks(session, run)
        done = train_and_attack(session, found, log, started=prepare.started, display=display)
    say("[4/4] report: writing the run's record")
    write_record(session, log.timings, done, given)
    if done.error is not None:
        raise done.error
    return run


def _nothing_done(session: Session, log: Log) -> WorkDone:
    """Say of each stage that all of it is stored."""
    close_own(session)
    began = time.monotonic()
    log.say(f"[2/4] train: 0 of {len(session.plan.specs)} networks to train")
    log.timed("train", began)
    store_real(session)
    cells, stored = len(session.plan.work), reconstructions(session)
    log.say(f"[3/4] attack: 0 reconstructions over {cells} cells; {stored} are stored already")
    log.timed("attack", began)
    return WorkDone(costs=cost(session, [], 0.0, None))
