"""One experiment on one storage root, as every process opens it: data, plan, artifacts, networks."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from inversionlab.core.learner import Precision
from inversionlab.core.places import relation
from inversionlab.core.settings import ConfigError
from inversionlab.data.splits import Splits
from inversionlab.defenses.composition import people_of
from inversionlab.experiment import Experiment
from inversionlab.given.live import Live
from inversionlab.pipeline import data as data_stage
from inversionlab.pipeline.artifacts import Artifacts
from inversionlab.pipeline.boundary import refuse_same_people
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.compiled import chip_precision
from inversionlab.pipeline.given_facts import GivenFacts, read_facts
from inversionlab.pipeline.model_builder import ModelBuilder, Weights
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.overlaps import with_near_duplicates
from inversionlab.pipeline.plan import Plan, make_plan
from inversionlab.pipeline.prepared import Prepare, pictures_of
from inversionlab.pipeline.recipe_check import check_recipe
from inversionlab.store.address import is_uri
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Job, Store
from inversionlab.tracking.log_to import LogTo


@dataclass(frozen=True)
class SessionSpec:
    """Everything that a process needs to open a session; plain text, so it travels to any node."""

    experiment: str
    """The experiment as JSON."""
    storage: str
    """Absolute path or URI of the storage root."""
    pictures: tuple[str, ...]
    """Names of the decoded data sets."""
    given: tuple[tuple[str, GivenFacts], ...] = ()
    """What is known of the given models, by role."""
    live: Live | None = field(default=None, compare=False)
    """Returns what no file holds of a given victim, in any process."""
    precision: Precision = "fp32"
    """In which attacks run the networks."""
    log_to: LogTo = field(default=LogTo(), compare=False)
    """Services that are told about trainings."""


@dataclass(frozen=True)
class Session:
    """An opened experiment."""

    spec: SessionSpec
    experiment: Experiment
    artifacts: Artifacts
    store: Store
    builder: ModelBuilder

    @property
    def plan(self) -> Plan:
        """The experiment's plan."""
        return self.builder.plan


def open_experiment(
    experiment: Experiment,
    storage: Storage,
    live: Live | None = None,
    *,
    listed: bool = False,
    prepare: Prepare | None = None,
) -> Session:
    """Open an experiment on the CPU of a machine that has its data; other processes then open its spec.

    The data sets are prepared, unless an earlier run has done so, and kept in the storage for all processes. With
    `listed`, large ones are not: that suffices for a plan. `prepare` prepares large ones.

    Raises:
        ConfigError: a network does not fit the recipe, or both data sets are in one place, which is said before a
            picture is looked at; a data set is missing or unusable, or cannot be split as the experiment asks.
    """
    check_recipe(experiment)
    refuse_same_people(experiment)
    _refuse_storage_in_data(experiment, storage)
    names = data_stage.picture_ids(experiment, storage)
    given = read_facts(experiment, live() if live is not None else None)
    spec = SessionSpec(experiment.model_dump_json(), storage.root, names, given, live)
    session = open_session(spec, torch.device("cpu"), listed=listed, prepare=prepare)
    builder = session.builder
    builder.splits = with_near_duplicates(
        experiment, builder.splits, session.plan.data_id, session.artifacts.storage
    )
    return _in_its_precision(session)


def _refuse_storage_in_data(experiment: Experiment, storage: Storage) -> None:
    """Refuse a storage below a folder of pictures: what it holds would be taken for pictures of a person."""
    place = storage.root if is_uri(storage.root) else Path(storage.root)
    for key, settings in (("data", experiment.data), ("public_data", experiment.public_data)):
        root = getattr(settings, "root", None)
        if root is not None and relation(place, root) in ("is", "lies in"):
            raise ConfigError(
                f"--storage {storage.root}: lies inside {key}.root = {root}, so its pictures would be taken for a "
                "person's; choose a folder outside it"
            )


def _in_its_precision(session: Session) -> Session:
    """The session with `runtime.precision`; auto: that of the rows that are stored, else what suits the chip."""
    runtime = session.experiment.runtime
    if runtime.precision == "fp32":
        return session
    half = _with_precision(session, "bf16")
    if runtime.precision == "bf16":
        return half
    order = [session, half] if chip_precision(runtime) == "fp32" else [half, session]
    return next((opened for opened in order if _has_begun(opened)), order[0])


def _has_begun(session: Session) -> bool:
    """Whether rows of an attack are stored; null attacks are shared with other experiments."""
    stored = stored_cells(session)
    attacks = (cell for cell in session.plan.cells if cell.defense is not None)
    ids = (id for cell in attacks for id in (cell.id, *cell.judged_otherwise) if id in stored)
    return any(session.store.done(id) for id in ids)


def stored_cells(session: Session) -> frozenset[str]:
    """The ids of all cells of which something is stored; the store is listed once for all of them."""
    return frozenset(session.store.storage.folders("reconstructions"))


def _with_precision(session: Session, precision: Precision) -> Session:
    spec, builder = replace(session.spec, precision=precision), session.builder
    return open_session(
        spec, builder.device, splits=builder.splits, networks=builder.networks_at_hand
    )


def with_live(session: Session, live: Live) -> Session:
    """The session whose given victim is reached by `live`, in this and in every other process."""
    session.builder.live = live
    return replace(session, spec=replace(session.spec, live=live))


def with_log_to(session: Session, log_to: LogTo) -> Session:
    """The session whose trainings are told to these services."""
    return replace(session, spec=replace(session.spec, log_to=log_to))


def open_session(
    spec: SessionSpec,
    device: torch.device,
    *,
    splits: Splits | None = None,
    load: Callable[[NetworkSpec], Weights] | None = None,
    networks: dict[str, nn.Module] | None = None,
    listed: bool = False,
    prepare: Prepare | None = None,
) -> Session:
    """Open the experiment in this process; its networks live on `device` and load when they are first needed.

    Args:
        splits: its data; None reads the pictures from the storage and splits them.
        load: returns a network's weights; None reads them from the storage.
        listed: a large set that is not prepared is only listed, for a plan.
        prepare: prepares a large set that is not prepared; None: this process does.
        networks: frozen networks at hand, by their specs' keys; the session adds those that it builds.

    Raises:
        ConfigError: the data cannot be split as the experiment asks.
    """
    experiment = Experiment.model_validate_json(spec.experiment)
    artifacts = Artifacts(Storage(spec.storage))
    facts = dict(spec.given)
    names = facts["victim"].classes if "victim" in facts else None
    if splits is None:
        stored = iter(spec.pictures)
        private, public = (
            None
            if settings is None
            else pictures_of(
                artifacts.storage, settings, next(stored), listed=listed, prepare=prepare
            )
            for settings in (experiment.data, experiment.public_data)
        )
        splits = data_stage.cut(experiment, private, public, names)
    targets, pool = data_stage.choose_people(experiment, data_stage.attackable(splits))
    data_id = data_stage.data_id(experiment, spec.pictures, names)
    plan = make_plan(experiment, data_id, targets, pool, facts, spec.precision)
    builder = ModelBuilder(
        experiment, splits, plan, load or artifacts.weights, device, networks, spec.live
    )
    return Session(spec, experiment, artifacts, Store(artifacts.storage), builder)


def with_experiment(session: Session, experiment: Experiment) -> Session:
    """Another experiment on the data of `session`, with which it shares the splits and the networks at hand."""
    spec = replace(session.spec, experiment=experiment.model_dump_json())
    builder = session.builder
    return open_session(
        spec, builder.device, splits=builder.splits, networks=builder.networks_at_hand
    )


def store_given(session: Session) -> None:
    """Store the given models that `ModelBuilder.check` has built, for processes without the user's files."""
    for spec in session.plan.specs:
        if not spec.given:
            continue
        packed = spec.pack(session.builder.networks_at_hand[spec.key])
        if session.artifacts.finished(spec):
            stored = session.artifacts.weights(spec)
            if {k: t.shape for k, t in stored.items()} == {k: t.shape for k, t in packed.items()}:
                continue
        card = {"seconds": 0.0, "metrics": {}, "workers": 1}
        session.artifacts.save(spec, packed, card, None)


def missing_jobs(
    session: Session, cell: Cell, targets: Collection[int]
) -> tuple[Iterator[Job], int]:
    """The (target, repeat) jobs of a cell that the store lacks, one by one, and their number."""
    wanted = session.experiment.targets
    place = {target: row for row, target in enumerate(people_of(cell.attacked, targets))}
    # One byte per job: a hundred thousand targets take little memory.
    todo = np.ones((len(place), wanted.repeats), bool)
    for target, repeat in session.store.done(cell.id):
        column = repeat - wanted.first_repeat
        if target in place and 0 <= column < wanted.repeats:
            todo[place[target], column] = False
    jobs = (
        (target, wanted.first_repeat + column)
        for target, row in place.items()
        for column in range(wanted.repeats)
        if todo[row, column]
    )
    return jobs, int(todo.sum())
