"""One experiment on one storage root, as every process opens it: data, plan, artifacts, networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inversionlab.experiment import Experiment
from inversionlab.runtime.artifacts import Artifacts
from inversionlab.stages import data as data_stage
from inversionlab.stages.plan import Plan, make_plan
from inversionlab.stages.workshop import Workshop
from inversionlab.storage import Storage
from inversionlab.store import Store


@dataclass(frozen=True)
class Address:
    """All that a process needs to open a site; plain text, so that it travels to any node."""

    experiment: str
    """The experiment as JSON."""
    storage: str
    """Absolute path or URI of the storage root."""
    pictures: tuple[str, ...]
    """Names of the decoded data sets."""


@dataclass(frozen=True)
class Site:
    """An opened experiment."""

    address: Address
    experiment: Experiment
    artifacts: Artifacts
    store: Store
    workshop: Workshop

    @property
    def plan(self) -> Plan:
        """What is to be done."""
        return self.workshop.plan


def prepare(experiment: Experiment, storage: Storage) -> Address:
    """Decode the data sets, if no earlier run has, and say where they are.

    Raises:
        ConfigError: a data set is missing or unusable.
    """
    names = data_stage.picture_ids(experiment)
    artifacts = Artifacts(storage)
    for settings, name in zip((experiment.data, experiment.public_data), names, strict=False):
        if settings is not None:
            artifacts.pictures(settings, name)
    return Address(experiment.model_dump_json(), storage.root, names)


def open_site(address: Address, device: torch.device) -> Site:
    """Open the experiment in this process; networks load when they are first asked for.

    Raises:
        ConfigError: the data cannot be split as the experiment asks.
    """
    experiment = Experiment.model_validate_json(address.experiment)
    artifacts = Artifacts(Storage(address.storage))
    private = artifacts.pictures(experiment.data, address.pictures[0])
    public = None
    if experiment.public_data is not None:
        public = artifacts.pictures(experiment.public_data, address.pictures[1])
    splits = data_stage.cut(experiment, private, public)
    targets = data_stage.choose_targets(experiment, len(splits.people))
    plan = make_plan(experiment, data_stage.data_id(experiment, address.pictures), targets)
    workshop = Workshop(experiment, splits, plan, artifacts.weights, device)
    return Site(address, experiment, artifacts, Store(artifacts.storage), workshop)
