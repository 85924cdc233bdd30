"""Writes the record of a run; the report is made from it and the store. Ray is not imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from inversionlab.attacks import ATTACKS
from inversionlab.core.images import png
from inversionlab.core.settings import NAMING, ConfigError, fingerprint
from inversionlab.defenses import DEFENSES
from inversionlab.defenses.composition import people_of
from inversionlab.distributed.errors import AuditError
from inversionlab.distributed.provenance import provenance
from inversionlab.experiment import Experiment
from inversionlab.experiment.suite import suite_record
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.measure import VIEWS, evaluator_key, model_key
from inversionlab.pipeline.prior_ceiling import ceiling_key, priors
from inversionlab.pipeline.session import Session
from inversionlab.results import run_record as records
from inversionlab.results.load import stored_record
from inversionlab.store.storage import Storage

if TYPE_CHECKING:
    from inversionlab.distributed.cluster import Gpus


def reconstructions(session: Session) -> int:
    """Reconstructions of the whole experiment."""
    plan = session.plan
    tries = sum(len(people_of(cell.attacked, plan.targets)) for cell in plan.work.values())
    return tries * session.experiment.targets.repeats


def store_real(session: Session) -> None:
    """Store one real picture of every target for the report."""
    key = real_key(session)
    if session.store.has("references", key):
        return
    splits = session.builder.splits
    rows = []
    for target in session.plan.targets:
        own = (splits.train.class_N == target).nonzero()
        if not len(own):
            continue  # No private pictures are at hand.
        picture = png(splits.train.images_NCHW[int(own[0])])
        row = {"kind": "real", "protected": "", "target": target, "person": splits.people[target]}
        rows.append({**row, "picture": picture})
    session.store.write("references", key, rows)


def real_key(session: Session) -> str:
    """The key of the targets' real pictures in the store."""
    return fingerprint([session.plan.data_id, list(session.plan.targets)])


def cost(
    session: Session, trained: Sequence[str], attack_seconds: float, gpus: Gpus | None
) -> dict[str, dict[str, float]]:
    """CPU- and GPU-seconds that trainings and attacks held.

    A training that resumed from a checkpoint counts from there.

    Args:
        session: the experiment.
        trained: keys of the networks that this run trained.
        attack_seconds: working time of all attack workers together.
        gpus: which work took GPUs; None: there was no work.
    """
    runtime = session.experiment.runtime
    cards = [session.store.storage.read_json(f"artifacts/{key}/card.json") for key in trained]
    seconds = [c["seconds"] * c["workers"] for c in cards]
    cpus = sum(s * c.get("cpus", runtime.train_cpus) for s, c in zip(seconds, cards, strict=True))
    gpu_seconds = attack_seconds * runtime.attack_gpu_share
    return {
        "train": {
            "cpu_seconds": round(cpus, 1),
            "gpu_seconds": round(sum(seconds) if gpus and gpus.train else 0.0, 1),
        },
        "attack": {
            "cpu_seconds": round(attack_seconds * runtime.attack_cpus, 1),
            "gpu_seconds": round(gpu_seconds if gpus and gpus.attack else 0.0, 1),
        },
    }


@dataclass(frozen=True)
class WorkDone:
    """What a run did."""

    trained: Sequence[str] = ()
    """Keys of the networks that it trained."""
    costs: Mapping[str, Any] = field(default_factory=dict)
    """See `cost`."""
    timeline: Sequence[Mapping[str, float]] = ()
    """Samples of the cluster and the work in it."""
    machine: str | None = None
    """The cluster's resources; None: there was no work, so no cluster was asked for."""
    error: AuditError | None = None
    """What the run ends with, once its record is written; None: all is well."""


def write_record(
    session: Session,
    timings: Mapping[str, float],
    done: WorkDone,
    given: records.GivenVictimRecord | None = None,
) -> str:
    """Write the run's record, from which a report can be made without the experiment; returns its name.

    Args:
        session: the experiment.
        timings: seconds of each stage of this run.
        done: what this run did.
        given: what is known of the victim, if it was given.
    """
    experiment, plan = session.experiment, session.plan
    plain = experiment.model_dump(mode="json")
    run = run_name(experiment)
    notes = len(session.builder.splits.notes)
    warnings = [f"{notes} pictures were left out; the run's record lists them"] if notes else []
    if experiment.split.keep_copies:
        warnings.append("the attacker holds private pictures, which split.keep_copies left public")
    artifacts = []
    for spec in plan.specs:
        card = session.artifacts.card(spec) or {}
        known = {key: card[key] for key in ("seconds", "metrics") if key in card}
        made = {"trained": spec.key in done.trained, "given": spec.given}
        artifacts.append(records.ArtifactRecord(role=spec.title, id=spec.id, **made, **known))
    models = {model_key(session, c.protected, c.defense) for c in plan.cells if c.protected}
    record = records.RunRecord(
        run=run,
        name=experiment.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=sum(timings.values()),
        experiment=plain,
        provenance={**provenance(done.machine), "precision": plan.precision},
        data=data_record(session),
        given=given,
        sweep=plain["sweep"],
        suite=suite_record(experiment),
        cells=tuple(_cell_record(cell, several=len(plan.victims) > 1) for cell in plan.cells),
        artifacts=tuple(artifacts),
        priors=prior_records(session),
        timings=dict(timings),
        cost=dict(done.costs),
        timeline=tuple(dict(sample) for sample in done.timeline),
        warnings=tuple(warnings),
        jobs=records.JobsRecord(
            targets=plan.targets,
            repeats=experiment.targets.repeats,
            first_repeat=experiment.targets.first_repeat,
        ),
        tables=records.TablesRecord(
            models=tuple(sorted(models)),
            evaluators=tuple(evaluator_key(session, e.name) for e in experiment.evaluators),
            real=real_key(session),
        ),
    )
    storage, file = session.store.storage, f"runs/{run}/run.json"
    if done.machine is None and _says_as_much(storage, file, record):
        # Nothing was done: what the record says of how long it all took is worth more than this.
        return run
    unknown = {"suite"} if record.suite is None else set()
    storage.write_json(file, record.model_dump(exclude=unknown))
    return run


def _says_as_much(storage: Storage, file: str, record: records.RunRecord) -> bool:
    """Whether the record that is there differs from this one at most in what it says of the work."""
    try:
        return stored_record(records.RunRecord, storage, file).says_as_much_as(record)
    except ConfigError:
        return False


def prior_records(session: Session) -> tuple[records.PriorRecord, ...]:
    """The attackers' generators, with the keys of their ceilings where the experiment asks for these."""
    experiment, found = session.experiment, []
    named = {"generator": experiment.generator, **experiment.generators}
    asked = experiment.prior_ceiling and bool(session.plan.evaluators)
    for id, spec in priors(session).items():
        card = session.artifacts.card(spec) or {}
        label = next((key for key, settings in named.items() if settings == spec.settings), "")
        learns_from = spec.learns_from
        source = f"{len(session.builder.splits.public_NCHW):,} public pictures"
        if learns_from is not None:
            source += f" and the scores of {learns_from.defense.title}"
        found.append(
            records.PriorRecord(
                id=id,
                label=label,
                kind=spec.kind,
                trained_on="given, not trained here" if spec.given else source,
                seconds=None if spec.given else card.get("seconds"),
                ceiling=ceiling_key(session, id) if asked else "",
            )
        )
    return tuple(found)


def run_name(experiment: Experiment) -> str:
    """The name of an experiment's run. The runtime and the headline evaluator do not change it."""
    plain = experiment.model_dump(mode="json", exclude={"runtime", "headline"}, context=NAMING)
    return f"{experiment.name}-{fingerprint(plain)[:8]}"


def data_record(session: Session) -> dict[str, Any]:
    """The data in numbers."""
    splits = session.builder.splits
    return {
        "description": describe(session),
        "private_people": len(splits.people),
        "private_pictures": len(splits.train),
        "test_pictures": len(splits.test),
        "public_people": splits.public_people,
        "public_pictures": len(splits.public_NCHW),
        "evaluator_people": len(splits.evaluator_people),
        "skipped": list(splits.notes),
        **allowed_overlap(session),
    }


def allowed_overlap(session: Session) -> dict[str, str]:
    """What the report repeats if private pictures may be in other sets too."""
    if not session.experiment.split.allow_overlap:
        return {}
    kept = "; the attacker holds private pictures" if session.experiment.split.keep_copies else ""
    return {
        "overlap": f"allowed (split.allow_overlap){kept}; skipped pictures list what sets share"
    }


def describe(session: Session) -> str:
    """The data in one line."""
    splits = session.builder.splits
    size = " x ".join(str(s) for s in splits.train.images_NCHW.shape[1:])
    known = f"{len(splits.people)} private people"
    shown = len(splits.train.class_N.unique())
    if not shown:
        known = f"{len(splits.people)} people by name alone"
    elif shown < len(splits.people):
        known = f"{known}, {shown} of them with pictures"
    decoys = len(splits.decoys.class_N.unique())
    kept = f"{decoys} decoys ({len(splits.decoys)} pictures), " if decoys else ""
    return (
        f"{known} ({len(splits.train)} training and {len(splits.test)} "
        f"test pictures), {len(splits.evaluator_people)} evaluator-only, {kept}{splits.public_people} public "
        f"({len(splits.public_NCHW)} pictures), {size}; {len(splits.notes)} pictures left out or noted"
    )


def _cell_record(cell: Cell, *, several: bool) -> records.CellRecord:
    """A cell's record; `several` says whether there are several victims."""
    attack, defense = ATTACKS[cell.attack.name], cell.defense
    view = attack.view_at(cell.attack)
    return records.CellRecord(
        cell=cell.id,
        attack=cell.attack.title,
        defense=defense.name if defense is not None else "",
        title=defense.title if defense is not None else "",
        protected=cell.protected,
        label=cell.label,
        stripped=cell.stripped,
        point=cell.point,
        seed=cell.seed if several and defense is not None else None,
        target=None if defense is None else defense.aimed_at,
        baseline=cell.baseline,
        access=VIEWS[view] if view is not None else "",
        null=attack.view is None,
        prior=cell.generator.id if attack.needs_generator else "",
        floor=attack.floor,
        knows_defense=attack.knows_defense,
        aware_attack=DEFENSES[defense.name].aware_attack if defense is not None else "",
        inverts_outputs=attack.inverts_outputs_at(cell.attack),
        # On top of another defense, a mixture of its victim alone is that defense, not the undefended model.
        victim_share=DEFENSES[defense.name].victim_share if defense and not defense.inner else None,
    )
