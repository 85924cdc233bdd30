"""One experiment on one storage root, as every process opens it: data, plan, artifacts, networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from inversionlab.data.splits import Splits
from inversionlab.experiment import Experiment
from inversionlab.pipeline import data as data_stage
from inversionlab.pipeline.artifacts import Artifacts
from inversionlab.pipeline.model_builder import Weights, Workshop
from inversionlab.pipeline.network_spec import Task
from inversionlab.pipeline.plan import Plan, make_plan
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Store


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


def open_experiment(experiment: Experiment, storage: Storage) -> Site:
    """Open an experiment where its data is, on the CPU; other processes then open its address.

    The data sets are decoded, if no earlier run has, and kept in the storage, from which all others read.

    Raises:
        ConfigError: a data set is missing or unusable, or cannot be split as the experiment asks.
    """
    names = data_stage.picture_ids(experiment)
    address = Address(experiment.model_dump_json(), storage.root, names)
    return open_site(address, torch.device("cpu"))


def open_site(
    address: Address,
    device: torch.device,
    *,
    splits: Splits | None = None,
    load: Callable[[Task], Weights] | None = None,
    networks: dict[str, nn.Module] | None = None,
) -> Site:
    """Open the experiment in this process; networks load when they are first asked for.

    Args:
        address: what to open.
        device: where the networks live.
        splits: its data, if it is at hand; else it is read from the storage and cut.
        load: another way to a network's weights than the storage.
        networks: modules at hand by their tasks' keys; those that are built are added.

    Raises:
        ConfigError: the data cannot be split as the experiment asks.
    """
    experiment = Experiment.model_validate_json(address.experiment)
    artifacts = Artifacts(Storage(address.storage))
    if splits is None:
        splits = _cut(experiment, artifacts, address.pictures)
    targets = data_stage.choose_targets(experiment, len(splits.people))
    pool = data_stage.choose_pool(experiment, len(splits.people))
    plan = make_plan(experiment, data_stage.data_id(experiment, address.pictures), targets, pool)
    workshop = Workshop(experiment, splits, plan, load or artifacts.weights, device, networks)
    return Site(address, experiment, artifacts, Store(artifacts.storage), workshop)


def beside(site: Site, experiment: Experiment) -> Site:
    """Another experiment on the same data, which shares the splits and the networks with `site`."""
    address = replace(site.address, experiment=experiment.model_dump_json())
    workshop = site.workshop
    return open_site(
        address, workshop.device, splits=workshop.splits, networks=workshop.networks_at_hand
    )


def _cut(experiment: Experiment, artifacts: Artifacts, pictures: tuple[str, ...]) -> Splits:
    private = artifacts.pictures(experiment.data, pictures[0])
    public = None
    if experiment.public_data is not None:
        public = artifacts.pictures(experiment.public_data, pictures[1])
    return data_stage.cut(experiment, private, public)
