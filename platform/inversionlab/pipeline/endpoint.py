"""A given victim behind HTTP, as the starting process asks it, and how many queries attacks on it take."""

from collections.abc import Iterator
from pathlib import Path

import torch

from inversionlab.attacks import ATTACKS
from inversionlab.core.images import to_float
from inversionlab.experiment import Experiment
from inversionlab.generators import GENERATORS
from inversionlab.given.endpoint import EndpointClient, check_endpoint
from inversionlab.given.endpoint_settings import EndpointSettings, estimate
from inversionlab.given.ledger import ledger_folder
from inversionlab.given.live import Live
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import Answers, GivenModelSettings
from inversionlab.pipeline.defense_specs import DefenseNetworkSpec
from inversionlab.pipeline.enrolment import enrolled
from inversionlab.pipeline.evaluate import QUERIES
from inversionlab.pipeline.footprint import BATCH
from inversionlab.pipeline.given_specs import GivenSpec
from inversionlab.pipeline.judged_before import pictures_stored
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.prepared import Prepare
from inversionlab.pipeline.session import Session, missing_jobs, open_experiment, stored_cells
from inversionlab.store.storage import Storage

EXAMPLES = 8
"""Public pictures that are sent to see what the endpoint answers."""


class LocalEndpoint:
    """The connection of the starting process; it opens when it is first asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._client: EndpointClient | None = None

    def __call__(self) -> EndpointClient:
        """The client; raises as `EndpointClient` does."""
        if self._client is None:
            self._client = EndpointClient(*endpoint_of(self._session))
        return self._client

    def status(self) -> str:
        """A line of progress; empty while nothing was asked."""
        return "" if self._client is None else self._client.status()

    def close(self) -> None:
        """Close the client, if it was opened."""
        if self._client is not None:
            self._client.close()
            self._client = None


def begin(
    experiment: Experiment,
    storage: Storage,
    live: Live | None = None,
    *,
    listed: bool = False,
    prepare: Prepare | None = None,
) -> Session:
    """Open an experiment where its data and its given models are, and check it; nothing is asked or trained.

    `live` returns the module of a victim that is handed over from Python. `listed` and
    `prepare`: see `open_experiment`.

    Raises:
        ConfigError: something is wrong with the data, a given model, an endpoint's settings or those of a network.
    """
    if experiment.endpoint is not None:
        check_endpoint(experiment.endpoint)
    session = open_experiment(experiment, storage, live, listed=listed, prepare=prepare)
    if experiment.endpoint is not None:
        session.builder.live = LocalEndpoint(session)
    session.builder.check()
    return session


def endpoint_of(session: Session) -> tuple[EndpointSettings, tuple[str, ...], Path, Answers]:
    """What `EndpointClient` and `connect_endpoint` take: settings, names of the classes, ledger's folder, answers.

    Raises:
        ConfigError: the storage is a bucket, and the settings name no folder for the ledger.
    """
    victim = session.experiment.victim
    assert isinstance(victim, GivenModelSettings)
    assert victim.endpoint is not None
    folder = ledger_folder(victim.endpoint, session.artifacts.storage.root)
    return victim.endpoint, session.builder.splits.people, folder, victim.answers


def settle_answers(session: Session, model: GivenRecognizer, client: EndpointClient) -> None:
    """Ask the endpoint about a few public pictures, and note what it answers; enrol an embedding's people.

    Raises:
        ConfigError: its answers fit neither the settings nor the attacks, or the gallery is not whole.
        EndpointError, BudgetError: it does not answer.
    """
    builder = session.builder
    x_NCHW = to_float(builder.splits.public_NCHW[:EXAMPLES], builder.device)
    with torch.no_grad():
        # Asked first: what the entries of its answers are says more than the scores made of them.
        model.raw(model.preprocessing(x_NCHW))
        if model.answers == "auto" and client.kind in ("labels", "top_k"):
            model.answers = client.kind
        model.features(x_NCHW)
    builder.check_access()
    if model.answers == "embedding":
        spec = session.plan.spec("victim")
        assert isinstance(spec, GivenSpec)
        spec.enrol(model, builder)


def planned_queries(session: Session) -> Iterator[str]:
    """How many queries an audit of an endpoint will make at most, a line each, and what all of them take.

    Pictures that were asked about before, or are asked about twice, take fewer.
    """
    victim = session.experiment.victim
    if not isinstance(victim, GivenModelSettings) or victim.endpoint is None:
        return
    splits, work = session.builder.splits, session.plan.work.values()
    public, tested = len(splits.public_NCHW), len(splits.test)
    asked, known = 0, len(splits.train) + tested
    if victim.answers == "embedding":
        pictures, _ = enrolled(session.experiment, session.builder, splits.people)
        asked = len(pictures)
        known = tested if victim.gallery == "private" else known
        yield f"the gallery: {asked:,}, to enrol {len(splits.people)} people"
    first = min(EXAMPLES, public) + min(QUERIES, known)
    yield f"the check before anything is attacked: at most {first:,}"
    # The defenses that go on an endpoint change its answers, and ask about the same pictures.
    measured = min(QUERIES, tested) or min(BATCH, public)
    yield f"the accuracy: at most {measured:,}"
    learning = [f"{s.role} {s.kind}".strip() for s in session.plan.specs if _learns(session, s)]
    total = asked + first + measured + (public if learning else 0)
    if learning:
        yield f"the public pictures, for the training of {', '.join(dict.fromkeys(learning))}: {public:,}"
    stored = stored_cells(session)
    for cell in work:
        attack, generator = ATTACKS[cell.attack.name], cell.generator.settings
        if attack.view is None:
            continue
        missing, jobs = missing_jobs(session, cell, session.plan.targets)
        jobs -= pictures_stored(session, cell, missing, stored)
        each = attack.most_queries(cell.attack, generator.latent_size)
        once = attack.pool_size(cell.attack) if jobs else 0
        # Without an encoder the starts are draws, of which there are as many as wanted.
        offers = GENERATORS[generator.name].offers_at(generator)
        if not attack.needs_generator or "encoder" in offers:
            once = min(once, public)
        total += jobs * each + once
        starts = f", after {once:,} about starts for all of them" if once else ""
        yield f"{cell.label}: at most {each:,} queries a reconstruction, {jobs * each:,} in all{starts}"
    yield f"all together: {estimate(total, victim.endpoint)}"


def _learns(session: Session, spec: NetworkSpec) -> bool:
    """Whether a network is to be trained on the victim's scores of the public pictures."""
    asks = spec.learns_from is not None
    if isinstance(spec, DefenseNetworkSpec):
        asks = "model" in spec.defense.needed()
    return asks and not session.artifacts.finished(spec)
