"""AMI on the toy world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.attacks.ami import Ami, AmiSettings
from inversionlab.attacks.base import AttackError
from inversionlab.attacks.jobs import AttackResult
from inversionlab.core.settings import ConfigError, validate
from inversionlab.core.views import Labels, Scores
from inversionlab.generators.inversion_model import InversionModelSettings
from tests import toys
from tests.attacks.toy_inversion import quick, shape, trained

SMALL = InversionModelSettings(width=8)


class Mixture(nn.Module):
    """A perfect inversion model: the mean of the classes' faces, weighted by the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.faces = toys.victim().faces
        self.asked: list[Tensor] = []

    def forward(self, y_NK: Tensor) -> Tensor:
        self.asked.append(y_NK)
        return (y_NK[:, :, None, None, None] * self.faces).sum(1)


def ready(network: nn.Module | None = None, **more: Any) -> Ami:
    settings = AmiSettings(**{"public_pictures": 20, "network": SMALL, **more})
    return Ami(settings, replace(toys.context(), network=network or Mixture()))


def attack(ami: Ami, pairs: list[tuple[int, int]]) -> tuple[AttackResult, Scores]:
    view = ami.open(toys.victim(), len(pairs))
    return ami.run(view, toys.jobs(pairs)), view


def test_a_class_is_inverted_to_its_face() -> None:
    result, _ = attack(ready(confidences=(1.0,)), [(2, 0), (4, 0)])
    torch.testing.assert_close(result.images_NCHW, toys.victim().faces[[2, 4]])
    assert bool((result.confidence_N > 0.99).all())


def test_the_candidate_that_the_model_likes_most_is_kept() -> None:
    # The target's own face always scores higher than a mixture with little of it.
    result, view = attack(ready(confidences=(0.1, 1.0, 0.3), look_alikes=2), [(2, 0)])
    torch.testing.assert_close(result.images_NCHW, toys.victim().faces[[2]])
    assert view.queries.tolist() == [20 + 2 * 3]


def test_the_vectors_are_answers_to_the_most_similar_public_pictures() -> None:
    network = Mixture()
    ami = ready(network, public_pictures=1000, look_alikes=3, confidences=(0.5,))
    _, view = attack(ami, [(1, 0)])
    public = ami.context.public_NCHW.float() / 255
    y_NK = toys.victim().log_scores(public).exp()
    base_MK = y_NK[y_NK[:, 1].argsort(descending=True)[:3]]
    others = torch.tensor([0, 2, 3, 4])
    want_MK = 0.5 * base_MK[:, others] / base_MK[:, others].sum(1, keepdim=True)
    torch.testing.assert_close(network.asked[0][:3, others], want_MK)
    assert network.asked[0][:3, 1].tolist() == [0.5] * 3
    assert view.queries.tolist() == [len(public) + 3]


@pytest.mark.parametrize("wrong", [[0.0], [0.5, 1.5], []])
def test_confidences_are_scores(wrong: list[float]) -> None:
    with pytest.raises(ConfigError, match="confidences"):
        validate(AmiSettings, {"name": "ami", "confidences": wrong}, origin="recipe")


def test_without_public_pictures_the_rest_is_spread_evenly() -> None:
    network = Mixture()
    _, view = attack(ready(network, public_pictures=0, confidences=(0.6,)), [(1, 0)])
    torch.testing.assert_close(network.asked[0][0], torch.tensor([0.1, 0.6, 0.1, 0.1, 0.1]))
    assert view.queries.tolist() == [1]


def test_an_observed_output_is_inverted_and_no_further_query_made() -> None:
    ami = ready(invert="output")
    assert ami.inverts_outputs
    view = ami.open(toys.victim(), 2)
    private = toys.context().public_NCHW[:2].float() / 255
    view.observe_outputs(private)
    result = ami.run(view, toys.jobs([(0, 0), (3, 0)]))
    y_NK = toys.victim().log_scores(private).exp()
    torch.testing.assert_close(result.images_NCHW, Mixture()(y_NK))
    torch.testing.assert_close(result.confidence_N, torch.stack([y_NK[0, 0], y_NK[1, 3]]))
    assert view.queries.tolist() == [1, 1]


def test_an_output_must_have_been_observed() -> None:
    with pytest.raises(ValueError, match="none was observed"):
        attack(ready(invert="output"), [(0, 0)])


@pytest.mark.parametrize("invert", ["class", "output"])
def test_truncated_vectors_hold_no_more_than_was_shown(invert: str) -> None:
    network = Mixture()
    ami = ready(network, invert=invert, truncate=2, confidences=(0.7, 0.9))
    view = ami.open(toys.victim(), 1)
    if invert == "output":
        view.observe_outputs(toys.context().public_NCHW[:1].float() / 255)
    ami.run(view, toys.jobs([(0, 0)]))
    assert view.top == Ami.training_top(ami.settings) == 2
    assert all(int((y_NK > 0).sum(1).max()) <= 2 for y_NK in network.asked)


def test_more_scores_than_there_are_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="truncate = 6: the model has 5 scores"):
        Ami.build(AmiSettings(truncate=6), shape())


@pytest.mark.parametrize("channels", [1, 3])
def test_trained_on_public_pictures_it_finds_every_class(channels: int) -> None:
    settings = AmiSettings(**quick())
    ami = Ami(settings, trained(Ami, settings, toys.victim(channels), channels))
    model = toys.victim(channels)
    result = ami.run(ami.open(model, len(toys.ALL)), toys.jobs(toys.ALL))
    assert float(result.confidence_N.min()) > 0.95
    target_N1 = torch.tensor([t for t, _ in toys.ALL])[:, None]
    own_N1 = model.log_scores(result.images_NCHW).exp().gather(1, target_N1)
    torch.testing.assert_close(own_N1.squeeze(1), result.confidence_N)


def test_rows_are_the_same_bits_however_the_work_is_cut() -> None:
    settings = AmiSettings(network=SMALL, public_pictures=20)
    context = replace(toys.context(), network=Ami.build(settings, shape()).eval())
    ami = Ami(settings, context)
    whole, _ = attack(ami, toys.ALL)
    parts = [attack(ami, toys.ALL[i : i + 4])[0].images_NCHW for i in range(0, len(toys.ALL), 4)]
    assert torch.equal(torch.cat(parts), whole.images_NCHW)
    assert not torch.equal(whole.images_NCHW[0], whole.images_NCHW[1])


def test_teacher_and_what_a_trained_network_depends_on() -> None:
    assert Ami.teacher(AmiSettings()) == "victim"
    assert Ami.teacher(AmiSettings(taught_by="protected")) == "protected"
    plain = AmiSettings().trained_part()
    assert AmiSettings(invert="output", taught_by="protected", label="x").trained_part() == plain
    assert AmiSettings(truncate=3).trained_part() != plain


@pytest.mark.parametrize("public_pictures", [0, 20])
def test_not_a_number_names_the_target(public_pictures: int) -> None:
    model = toys.victim()
    model.sharpness = float("nan")
    ami = ready(public_pictures=public_pictures)
    with pytest.raises(AttackError, match=r"`ami`: .* target 3"):
        ami.run(ami.open(model, 1), toys.jobs([(3, 0)]))


def test_labels_are_not_enough() -> None:
    with pytest.raises(TypeError, match="Scores"):
        ready().run(Labels(toys.victim(), 1), toys.jobs([(0, 0)]))


def test_it_needs_its_network() -> None:
    with pytest.raises(ValueError, match="needs its trained network"):
        Ami(AmiSettings(), toys.context())
