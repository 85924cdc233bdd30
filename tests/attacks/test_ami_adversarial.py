"""AMI with adversarial training bears the noise that misleads the plain attack, and asks no defended model."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from inversionlab.attacks.ami import Ami, AmiSettings
from inversionlab.attacks.ami_adaptive import AmiAdaptive
from inversionlab.attacks.ami_adversarial import AmiAdversarial, AmiAdversarialSettings
from inversionlab.attacks.base import Attack
from inversionlab.core.winner import released
from inversionlab.defenses.base import ProtectedModel
from inversionlab.generators.inversion_noise import NoiseSettings, find_noise
from tests import toys
from tests.attacks.toy_inversion import quick, trained

NOISE = NoiseSettings(step=0.5, iterations=4, budget=2.0)


class Noisy(ProtectedModel):
    """Answers with the noise that misleads a given inversion model."""

    classes = toys.CLASSES

    def __init__(self, inversion: nn.Module) -> None:
        super().__init__()
        self.inversion = inversion

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        log_NK = toys.victim().log_scores(x_NCHW).detach()
        n_NK = find_noise(self.inversion, x_NCHW, log_NK, NOISE)
        return released(log_NK.double() + n_NK, log_NK.argmax(1))


def error(attack: Attack, model: ProtectedModel) -> float:
    """Mean squared error a pixel of inverted outputs of the defended model."""
    rng = torch.Generator().manual_seed(9)
    generator = toys.ToyGenerator()
    private = generator(torch.randn(40, toys.LATENT, generator=rng)).detach()
    view = attack.open(model, len(private))
    view.observe_outputs(private)  # type: ignore[attr-defined]
    result = attack.run(view, toys.jobs([(0, r) for r in range(len(private))]))
    return float((result.images_NCHW - private).square().mean())


def test_it_bears_the_noise_that_misleads_the_plain_attack() -> None:
    plain = AmiSettings(invert="output", **quick())
    context = trained(Ami, plain, toys.victim())
    assert context.network is not None
    # The defense aims at just that inversion model.
    model = Noisy(context.network)
    robust = AmiAdversarialSettings(invert="output", noise=NOISE, **quick())
    fooled = error(Ami(plain, context), model)
    bearing = error(AmiAdversarial(robust, trained(AmiAdversarial, robust, toys.victim())), model)
    assert bearing < 0.8 * fooled


def test_it_learns_from_answers_without_the_defense_and_shares_no_network() -> None:
    chosen = AmiAdversarialSettings()
    assert AmiAdversarial.teacher(chosen) == "victim"
    assert AmiAdversarial.knows_defense
    assert AmiAdversarial.network_kind not in (Ami.network_kind, AmiAdaptive.network_kind)
    assert AmiAdversarial.network_part(chosen)["noise"]["step"] == 0.4


@pytest.mark.parametrize("noise", [{"step": 0.0}, {"iterations": 0}, {"budget": 1e-4}])
def test_no_noise_is_refused(noise: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"makes no noise|must be at least 0\.001"):
        AmiAdversarialSettings(noise=NoiseSettings(**noise))
