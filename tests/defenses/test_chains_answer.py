"""Defenses on top of each other keep their promises: forward, backward, and in their costs."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.learner import TrainingSettings
from inversionlab.defenses import ProtectedModel
from inversionlab.generators.inversion_noise import NoiseSettings
from inversionlab.pipeline import footprint
from tests import defended

FINE_TUNING = TrainingSettings(epochs=20, batch_size=8, learning_rate=3e-3, weight_decay=0.0)


def on(inner: Any, name: str, **changed: Any) -> Any:
    """Short settings of a defense on top of another."""
    return defended.settings(name, **changed).model_copy(update={"inner": inner})


@functools.cache
def mixture() -> ProtectedModel:
    """A dummy recognizer mixed with a fine-tuned victim."""
    below = defended.settings("gan_fake_samples", training=FINE_TUNING, omega=0.0)
    return defended.protected(on(below, "dummy_recognizer", alpha=0.4))


@functools.cache
def relabelled(label_of: str) -> ProtectedModel:
    """The mixture with its labels restored."""
    settings = on(None, "label_modifier", label_of=label_of)
    victim = defended.recognizer() if label_of == "victim" else None
    return defended.make(settings).protect(mixture(), victim).eval().requires_grad_(False)


@functools.cache
def noisy() -> ProtectedModel:
    """Adversarial noise on the scores of a bottleneck recognizer."""
    noise = NoiseSettings(budget=1.0, iterations=3)
    below = defended.settings("mutual_information")
    return defended.protected(on(below, "adversarial_noise", noise=noise))


CHAINS = {
    "labels of the recognizer": lambda: relabelled("recognizer"),
    "labels of the victim": lambda: relabelled("victim"),
    "adversarial noise on mutual information": noisy,
}


def labels(model: nn.Module, x_NCHW: Tensor) -> Tensor:
    found: Tensor = model.log_scores(x_NCHW).argmax(1)  # type: ignore[operator]
    return found


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_releases_probability_vectors(chain: str) -> None:
    y_NK = CHAINS[chain]().log_scores(defended.pictures(20)).exp()
    assert y_NK.shape == (20, defended.CLASSES)
    assert float(y_NK.min()) >= 0
    torch.testing.assert_close(y_NK.sum(1), torch.ones(20))


@pytest.mark.parametrize("chain", CHAINS)
def test_gradients_reach_the_picture_through_a_chain(chain: str) -> None:
    x_NCHW = defended.pictures().requires_grad_(True)
    log_y_NK = CHAINS[chain]().log_scores(x_NCHW)
    (g,) = torch.autograd.grad(log_y_NK[:, 2].sum(), x_NCHW)
    assert bool(g.isfinite().all())
    assert bool((g.flatten(1).norm(dim=1) > 0).all())


@pytest.mark.parametrize("label_of", ["recognizer", "victim"])
def test_relabelled_mixture_has_the_promised_labels_and_the_mixtures_other_scores(
    label_of: str,
) -> None:
    x_NCHW, model = defended.pictures(300, seed=8), relabelled(label_of)
    tuned = mixture().recognizer()
    reference, other = (
        (tuned, defended.recognizer())
        if label_of == "recognizer"
        else (defended.recognizer(), tuned)
    )
    wanted_N = labels(reference, x_NCHW)
    assert torch.equal(labels(model, x_NCHW), wanted_N)
    moved_N = labels(mixture(), x_NCHW) != wanted_N
    assert bool(moved_N.any()), "else nothing has to be restored"
    assert bool((~moved_N).any())
    assert not torch.equal(labels(other, x_NCHW), wanted_N), "both references have the same labels"
    mixed_NK = mixture().log_scores(x_NCHW)
    found_NK = model.log_scores(x_NCHW)
    torch.testing.assert_close(found_NK[~moved_N], mixed_NK[~moved_N], atol=1e-4, rtol=1e-4)
    # Where the label is raised, the other scores keep their distances.
    left_NK = (found_NK - mixed_NK)[moved_N].scatter(1, wanted_N[moved_N, None], torch.nan)
    spread_N = left_NK.nan_to_num(-torch.inf).amax(1) - left_NK.nan_to_num(torch.inf).amin(1)
    assert float(spread_N.max()) < 1e-4


def test_the_mixture_is_of_the_fine_tuned_victim_and_the_dummy() -> None:
    x_NCHW, tuned = defended.pictures(20), mixture().recognizer()
    dummy: Any = mixture().dummy
    assert not torch.equal(labels(tuned, x_NCHW), labels(dummy, x_NCHW))
    y_NK = 0.4 * tuned.log_scores(x_NCHW).exp() + 0.6 * dummy.log_scores(x_NCHW).exp()  # type: ignore[operator]
    torch.testing.assert_close(mixture().log_scores(x_NCHW).exp(), y_NK)


def test_noise_on_a_bottleneck_keeps_its_labels_and_its_budget() -> None:
    x_NCHW = defended.pictures(300, seed=8)
    below: Any = noisy().victim
    c0_NK, found_NK = below.log_scores(x_NCHW), noisy().log_scores(x_NCHW)
    assert torch.equal(found_NK.argmax(1), c0_NK.argmax(1))
    moved_NK = (found_NK - c0_NK).double()
    spread_N = moved_NK.amax(1) - moved_NK.amin(1)
    # Softmax ignores a constant added to a row: noise of at most 1 nat spreads by 2.
    assert 0.5 < float(spread_N.max()) <= 2 + 1e-5


@pytest.mark.parametrize(
    ("chain", "count"),
    [
        ("labels of the recognizer", 2),
        ("labels of the victim", 3),
        ("adversarial noise on mutual information", 2),
    ],
)
def test_each_network_of_a_chain_counts_once(chain: str, count: int) -> None:
    """Fine-tuned victim, dummy, and the bare victim if it gives the label; bottleneck and inversion model."""
    assert footprint.networks(CHAINS[chain]()) == count


def test_a_chain_has_the_facts_of_all_its_parts() -> None:
    for facts in (noisy().facts(), footprint.facts(noisy())):
        assert set(facts) == {"bound_nats", "inversion_passes"}
        assert facts["inversion_passes"] == 3
        assert facts["bound_nats"] > 0
    outer = defended.make(on(None, "label_modifier")).protect(noisy(), None)
    for facts in (outer.facts(), footprint.facts(outer)):
        assert set(facts) == {"bound_nats", "inversion_passes", "recognizer_passes"}
    assert relabelled("victim").facts() == {"recognizer_passes": 1.0}
