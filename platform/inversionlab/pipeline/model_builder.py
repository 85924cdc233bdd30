"""The networks and models of one experiment: each is built and loaded once, and frozen."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from inversionlab.attacks import ATTACKS, AttackerContext
from inversionlab.attacks.engine import Widths
from inversionlab.core.contracts import ModelShape
from inversionlab.core.learner import Precision
from inversionlab.core.settings import ConfigError
from inversionlab.core.views import Scores, shows, view_word
from inversionlab.data.splits import Splits
from inversionlab.defenses import DEFENSES, DefenseSettings, ProtectedModel
from inversionlab.experiment import Experiment
from inversionlab.generators.base import Generator
from inversionlab.given.live import Live
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.pipeline.batch_invariant import (
    BatchInvariantModel,
    BatchInvariantPrior,
    batch_invariant_network,
)
from inversionlab.pipeline.cell import Cell
from inversionlab.pipeline.compiled import compiled
from inversionlab.pipeline.network_spec import NetworkSpec, fault_of, latent_faults
from inversionlab.pipeline.plan import Plan
from inversionlab.pipeline.train import frozen
from inversionlab.pipeline.untrained import WithoutDraws, untrained
from inversionlab.recognizers import Recognizer
from inversionlab.store.tables import Job

Weights = Mapping[str, Tensor]
Run = Callable[[nn.Module], nn.Module]
"""A stored network to the one that is run in its place."""


class ModelBuilder:
    """Builds and keeps the networks of one experiment, in one process."""

    def __init__(
        self,
        experiment: Experiment,
        splits: Splits,
        plan: Plan,
        load: Callable[[NetworkSpec], Weights],
        device: torch.device,
        networks: dict[str, nn.Module] | None = None,
        live: Live | None = None,
    ) -> None:
        """Build nothing yet.

        `load` returns the weights of a trained network and is called once for each. `networks` holds frozen
        networks at hand, by their specs' keys; the builder adds those that it builds. `live`: see `BuildContext`.
        """
        self.experiment, self.splits, self.plan = experiment, splits, plan
        self.device, self.live = device, live
        self._load = load
        self.networks_at_hand = {} if networks is None else networks
        _, channels, image_size, _ = splits.public_NCHW.shape
        self.shape = ModelShape(len(splits.people), channels, image_size)

    def check(self) -> None:
        """Build every network of the plan untrained, so that settings are refused before anything is trained.

        What belongs to one victim fits if what belongs to another does: they differ in their seeds alone.

        Raises:
            ConfigError: which networks and attacks do not fit the data; faults are joined by semicolons.
        """
        latent_sizes: dict[str, int] = {}
        faults: list[str] = []
        seeds = {self.experiment.seed, *[*self.plan.victims][:1]}
        for spec in self.plan.specs:
            if spec.seed not in seeds and not spec.given:
                continue
            try:
                make = partial(spec.build, self)
                module = make() if spec.given else untrained(make)
                with WithoutDraws():
                    spec.check(self)
            except ValueError as error:
                faults.append(fault_of(spec, error, self.plan.specs))
                continue
            if spec.given:
                self.networks_at_hand[spec.key] = frozen(module, self.device)
            if isinstance(module, Generator):
                latent_sizes[spec.key] = module.latent_size
        for cell in self.plan.cells:
            if size := latent_sizes.get(cell.generator.key):
                faults += latent_faults(cell.attack, size)
        if faults:
            raise ConfigError("; ".join(dict.fromkeys(faults)))
        self.check_access()

    def check_access(self) -> None:
        """Refuse attacks that need more of a given victim than it shows, once it is built.

        Raises:
            ConfigError: which attacks, and why the victim shows no more.
        """
        # A search checks the networks of a trial alone, which are not the victim.
        keys = [spec.key for spec in self.plan.specs if spec.role == "victim"]
        victim = self.networks_at_hand.get(keys[0]) if keys else None
        if not isinstance(victim, GivenRecognizer):
            return
        why = f" ({victim.raw.note})" if victim.raw.note else ""
        faults = []
        for attack in self.experiment.attacks:
            view = ATTACKS[attack.name].view_at(attack)
            partial = (
                victim.answers == "top_k" and ATTACKS[attack.name].training_top(attack) is None
            )
            if view is Scores and partial:
                faults.append(
                    f"attacks ({attack.title}): needs whole score vectors, but the given victim answers with its "
                    "largest scores only; set `truncate` to their number, or leave the attack out"
                )
            if view is not None and not shows(victim.view, view):
                faults.append(
                    f"attacks ({attack.title}): needs the model's {view_word(view)} view, but the given victim "
                    f"shows {view_word(victim.view)} at most{why}; leave the attack out"
                )
        if faults:
            raise ConfigError("; ".join(faults))

    def network(self, spec: NetworkSpec) -> nn.Module:
        """The trained network of a spec, frozen."""
        module = self.networks_at_hand.pop(spec.key, None)
        if module is None:
            module = frozen(spec.restore(self, self._load(spec)), self.device)
        # The least recently used network comes first, so a worker short of memory can drop it.
        self.networks_at_hand[spec.key] = module
        return module

    def recognizer(self, role: str) -> Recognizer | GivenRecognizer:
        """The trained or given recognizer of this role, frozen."""
        module = self.network(self.plan.spec(role))
        assert isinstance(module, Recognizer | GivenRecognizer)
        return module

    def protected(self, settings: DefenseSettings, seed: int | None = None) -> ProtectedModel:
        """The model that the defense releases, of networks as they are stored, frozen.

        Of several victims it is the one of this seed; None: there is only one.
        """
        return BatchInvariantModel(self._released(settings, lambda network: network, seed))

    def attacked(
        self,
        settings: DefenseSettings,
        precision: Precision | None = None,
        seed: int | None = None,
    ) -> ProtectedModel:
        """The model that the defense releases, of compiled networks; None: in the plan's precision.

        The `seed` is that of `protected`.
        """
        chosen = precision or self.plan.precision
        made = self._released(settings, lambda network: compiled(network, chosen), seed)
        return BatchInvariantModel(made)

    def _released(self, settings: DefenseSettings, run: Run, seed: int | None) -> ProtectedModel:
        specs = self.plan.of_seed(seed)
        victim, inner = run(self.network(specs.victim)), settings.inner
        below = victim if inner is None else self._released(inner, run, seed)
        defense, spec = DEFENSES[settings.name](settings), specs.own(settings)
        trained = run(self.network(spec)) if spec is not None else None
        made = defense.protect(below, victim if defense.carries_victim() else trained)
        frozen(made, self.device)
        return made

    def attacker_context(self, cell: Cell) -> AttackerContext:
        """What the attacker of a cell holds."""
        precision = self.plan.precision
        module = compiled(self.network(cell.generator), precision)
        assert isinstance(module, Generator)
        own = compiled(self.network(cell.network), precision) if cell.network is not None else None
        return AttackerContext(
            generator=BatchInvariantPrior(module, precision),
            public_NCHW=self.splits.public_NCHW,
            seed=cell.seed,
            device=self.device,
            network=batch_invariant_network(own),
            widths=Widths(self.experiment.runtime.attack_width),
        )

    def private_pictures(self, work: Sequence[Job]) -> Tensor:
        """A private training picture (uint8) of each job's target, (N, C, H, W).

        The repeats of a target get different pictures while there are enough.
        """
        train = self.splits.train
        rows = []
        for target, repeat in work:
            own_N = (train.class_N == target).nonzero().squeeze(1)
            rows.append(own_N[repeat % len(own_N)])
        return train.images_NCHW[torch.stack(rows)]
