"""Amplified-MIA reads what the small scores tell."""

from __future__ import annotations

import pytest
import torch

from inversionlab.attacks.amplified_mia import AmplifiedMia, AmplifiedMiaSettings
from tests import toys
from tests.attacks.toy_inversion import quick, trained


def error(vector: str) -> float:
    """Mean squared error a pixel of inverted outputs, all of one class."""
    settings = AmplifiedMiaSettings(invert="output", **quick(vector=vector))
    attack = AmplifiedMia(settings, trained(AmplifiedMia, settings, toys.victim()))
    rng = torch.Generator().manual_seed(9)
    private = toys.ToyGenerator()(torch.randn(40, toys.LATENT, generator=rng)).detach()
    view = attack.open(toys.victim(), len(private))
    view.observe_outputs(private)
    result = attack.run(view, toys.jobs([(0, r) for r in range(len(private))]))
    return float((result.images_NCHW - private).square().mean())


def test_amplified_scores_tell_more_than_plain_ones() -> None:
    assert error("power") < 0.9 * error("plain")


def test_the_papers_amplification_is_the_eleventh_root() -> None:
    network = AmplifiedMiaSettings().network
    assert (network.vector, network.activation) == ("power", "relu")
    assert network.exponent == pytest.approx(1 / 11)
    assert AmplifiedMia.teacher(AmplifiedMiaSettings()) == "victim"
    assert AmplifiedMia.teacher(AmplifiedMiaSettings(taught_by="protected")) == "protected"


def test_it_inverts_classes_too() -> None:
    settings = AmplifiedMiaSettings(**quick())
    attack = AmplifiedMia(settings, trained(AmplifiedMia, settings, toys.victim()))
    result = attack.run(attack.open(toys.victim(), len(toys.ALL)), toys.jobs(toys.ALL))
    assert float(result.confidence_N.min()) > 0.95
