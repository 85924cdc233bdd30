"""A given victim behind HTTP, as the starting process asks it, and how many queries attacks on it take."""

from collections.abc import Iterator

import torch

from inversionlab.attacks import ATTACKS
from inversionlab.core.images import to_float
from inversionlab.experiment import Experiment
from inversionlab.given.endpoint import EndpointClient
from inversionlab.given.endpoint_settings import estimate
from inversionlab.given.ledger import ledger_folder
from inversionlab.given.live import Live
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import GivenModelSettings
from inversionlab.pipeline.enrolment import enrolled
from inversionlab.pipeline.given_specs import GivenSpec
from inversionlab.pipeline.session import Session, missing_jobs, open_experiment
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
            settings = victim_settings(self._session)
            assert settings.endpoint is not None
            folder = ledger_folder(settings.endpoint, self._session.artifacts.storage.root)
            self._client = EndpointClient(
                settings.endpoint, self._session.builder.splits.people, folder, settings.answers
            )
        return self._client

    def close(self) -> None:
        """Close the client, if it was opened."""
        if self._client is not None:
            self._client.close()
            self._client = None


def begin(experiment: Experiment, storage: Storage, live: Live | None = None) -> Session:
    """Open an experiment where its data and its given models are, and check it; nothing is asked or trained.

    `live` returns the module of a victim that is handed over from Python.

    Raises:
        ConfigError: something is wrong with the data, a given model or the settings of a network.
    """
    session = open_experiment(experiment, storage, live)
    victim = experiment.victim
    if isinstance(victim, GivenModelSettings) and victim.endpoint is not None:
        session.builder.live = LocalEndpoint(session)
    session.builder.check()
    return session


def victim_settings(session: Session) -> GivenModelSettings:
    """The settings of a given victim."""
    settings = session.experiment.victim
    assert isinstance(settings, GivenModelSettings)
    return settings


def settle_answers(session: Session, model: GivenRecognizer, client: EndpointClient) -> None:
    """Ask the endpoint about a few public pictures, and note what it answers.

    Raises:
        ConfigError: its answers fit neither the settings nor the attacks.
        EndpointError, BudgetError: it does not answer.
    """
    examples = session.builder.splits.public_NCHW[:EXAMPLES]
    with torch.no_grad():
        model.features(to_float(examples, session.builder.device))
    if model.answers == "embedding":
        spec = session.plan.spec("victim")
        assert isinstance(spec, GivenSpec)
        spec.enrol(model, session.builder)
    if model.answers != "embedding" and client.kind in ("labels", "top_k"):
        model.answers = client.kind
    session.builder.check_access()


def planned_queries(session: Session) -> Iterator[str]:
    """How many queries every attack on an endpoint will make at most, one line each, and what all of them take."""
    victim = session.experiment.victim
    if not isinstance(victim, GivenModelSettings) or victim.endpoint is None:
        return
    total = 0
    if victim.answers == "embedding":
        people = session.builder.splits.people
        pictures, _ = enrolled(session.experiment, session.builder, people)
        total = len(pictures)
        yield f"the gallery: {total:,} queries, to enrol {len(people)} people"
    public = len(session.builder.splits.public_NCHW)
    trained: set[str] = set()
    for cell in session.plan.work.values():
        attack, size = ATTACKS[cell.attack.name], cell.generator.settings.latent_size
        if attack.view is None:
            continue
        _, jobs = missing_jobs(session, cell, session.plan.targets)
        each = attack.most_queries(cell.attack, size)
        training = 0
        if cell.network is not None and cell.network.key not in trained:
            trained.add(cell.network.key)
            training = attack.training_queries(cell.attack, public)
        total += jobs * each + training
        more = f", and {training:,} to train its network" if training else ""
        yield f"{cell.label}: at most {each:,} queries a reconstruction, {jobs * each:,} in all{more}"
    yield f"all attacks: {estimate(total, victim.endpoint)}"
