"""What attack workers are asked to do, and which of it an experiment still needs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from inversionlab.distributed.object_cache import CachedObject
from inversionlab.distributed.shard_queue import PendingJobs
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.estimate import kind_of
from inversionlab.pipeline.judged_before import files_of_pictures
from inversionlab.pipeline.missing import missing_evaluators, missing_models
from inversionlab.pipeline.paces import Kind
from inversionlab.pipeline.session import Session, SessionSpec, missing_jobs
from inversionlab.store.tables import Job

JUDGING = Kind("judging", expected=0.05)
"""Pictures that are stored and judged by more evaluators."""


@dataclass(frozen=True, eq=False)
class WorkContext:
    """What work items are about: an experiment, its data and its networks."""

    spec: SessionSpec
    data_id: str
    splits: CachedObject | None
    networks: Mapping[str, CachedObject]
    """By the networks' keys; a network that is not here is read from the storage."""


@dataclass(frozen=True, eq=False)
class MeasureModel:
    """Measure how well the model of a cell recognizes, and store its defense's decoys."""

    context: WorkContext
    cell: str
    label: str = ""
    """The cell's label."""

    @property
    def title(self) -> str:
        """What it is, for Ray's dashboard."""
        return f"measure the model of {self.label or self.cell}"


@dataclass(frozen=True, eq=False)
class MeasureEvaluator:
    """Measure an evaluator, and store its features of the targets' private pictures."""

    context: WorkContext
    name: str

    @property
    def title(self) -> str:
        """What it is, for Ray's dashboard."""
        return f"measure evaluator {self.name}"


@dataclass(frozen=True, eq=False)
class MeasureCeiling:
    """Fit private pictures in the space of a generator, and store how the first evaluator ranks them."""

    context: WorkContext
    generator: str
    """The generator's id."""

    @property
    def title(self) -> str:
        """What it is, for Ray's dashboard."""
        return f"measure the ceiling of generator {self.generator}"


@dataclass(frozen=True, eq=False)
class Shard:
    """Run a cell's attack for some (target, repeat) jobs, evaluate the results, and store the rows."""

    context: WorkContext
    cell: str
    jobs: tuple[Job, ...]
    label: str = ""
    """The cell's label."""
    files: tuple[str, ...] = ()
    """Where the pictures of all these jobs are stored; they are only judged. Empty: nowhere."""

    @property
    def title(self) -> str:
        """What it is, for Ray's dashboard."""
        what = "pictures to judge" if self.files else "reconstructions"
        return f"{self.label or self.cell}: {len(self.jobs)} {what}"


WorkItem = MeasureModel | MeasureEvaluator | MeasureCeiling | Shard


@dataclass(frozen=True)
class MissingWork:
    """Measurements, which come first, reconstructions, which are not cut into shards yet, and what comes last."""

    measurements: list[WorkItem]
    pending: list[PendingJobs[WorkItem]]
    last: list[WorkItem] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        """Number of reconstructions."""
        return sum(pending.left for pending in self.pending)

    @property
    def judged(self) -> int:
        """How many of them are stored as pictures, and are only judged."""
        return sum(pending.left for pending in self.pending if pending.kind is JUDGING)


def missing_measurements(
    session: Session,
    cells: Iterable[Cell],
    context: WorkContext,
    stored: set[str],
    measured: Collection[str] = (),
) -> list[WorkItem]:
    """Measurements of evaluators and of the cells' models that the store lacks, or that lack a column `measured`.

    `stored` holds the keys of measurements that an earlier call found whole; the call adds those that it finds.
    """
    evaluators = missing_evaluators(session, stored)
    models = missing_models(session, cells, stored, measured)
    return [
        *(MeasureEvaluator(context, name) for name in evaluators),
        *(MeasureModel(context, cell.id, cell.label) for cell in models),
    ]


def pending_jobs(
    session: Session,
    cell: Cell,
    targets: Collection[int],
    context: WorkContext,
    stored: frozenset[str],
) -> list[PendingJobs[WorkItem]]:
    """The reconstructions of a cell that the store lacks; `stored`: the ids of all cells that it has."""
    jobs, left = missing_jobs(session, cell, targets)
    make = partial(Shard, context, cell.id, label=cell.label)
    asks = cell.attacked is not None
    kind = kind_of(cell)
    if session.experiment.endpoint is not None:
        # Its budget is spent on one cell after the other.
        kind = replace(kind, attack="")
    files = files_of_pictures(session, cell, stored) if left else {}
    if not files:
        return [PendingJobs(jobs, left, kind, make, asks)]
    todo = list(jobs)
    judged, attacked = [j for j in todo if j in files], [j for j in todo if j not in files]
    # File by file, so that each is read once.
    judged.sort(key=lambda job: (files[job], job))

    def make_judged(part: tuple[Job, ...]) -> WorkItem:
        return replace(make(part), files=tuple(dict.fromkeys(files[job] for job in part)))

    return [
        PendingJobs(iter(judged), len(judged), JUDGING, make_judged, asks=False),
        PendingJobs(iter(attacked), len(attacked), kind, make, asks),
    ]
