"""The anonymity set: who is trained as what, what is released, and what the released file tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.contracts import ModelShape
from inversionlab.core.views import WhiteBox
from inversionlab.defenses import DefenseContext, VictimBlueprint
from inversionlab.defenses.anonymity_set import (
    AnonymitySet,
    AnonymitySetRecognizer,
    AnonymitySetSettings,
)
from inversionlab.defenses.base import Undefended
from inversionlab.defenses.parts.generated_people import spreads
from inversionlab.pipeline.batch_invariant import BatchInvariantModel
from inversionlab.recognizers import Recognizer, RecognizerSettings
from inversionlab.recognizers.losses import CrossEntropy
from inversionlab.recognizers.small_resnet import SmallResnet
from tests import defended


class Logits(nn.Module):
    """Its logits are the same six numbers for every picture."""

    def logits(self, x_NCHW: Tensor) -> Tensor:
        return torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]).expand(len(x_NCHW), -1)


def test_a_label_has_the_summed_probability_of_its_centres() -> None:
    # Two labels with two centres: identities 0, 2 are of label 0, and 1, 3 of label 1. 4 and 5 are strangers.
    model = AnonymitySetRecognizer(Logits(), classes=2, centres=2)
    x_NCHW = torch.zeros(3, 1, 2, 2)
    weight = torch.tensor([0.0, 1.0, 2.0, 3.0]).exp()
    expected = torch.stack([weight[[0, 2]].sum(), weight[[1, 3]].sum()]) / weight.sum()
    torch.testing.assert_close(model.log_scores(x_NCHW).exp(), expected.expand(3, -1))
    centres = model.centre_log_scores(x_NCHW).exp()[0] * weight.sum()
    torch.testing.assert_close(centres, torch.stack([weight[[0, 2]], weight[[1, 3]]]))


def job(**changed: Any) -> Any:
    settings = defended.settings("anonymity_set", **changed)
    return AnonymitySet(settings).training_job(defended.context())


def test_a_decoy_has_as_many_pictures_as_the_person_and_nobody_is_twice_in_a_set() -> None:
    training = job()
    classes, centres = defended.CLASSES, defended.DECOYS + 1
    assert torch.bincount(training.class_N).tolist() == [8] * classes * centres
    context = defended.context()
    private = {tuple(x.flatten().tolist()) for x in context.private_NCHW}
    people: dict[int, set[bytes]] = {}
    for x, identity in zip(training.images_NCHW, training.class_N.tolist(), strict=True):
        people.setdefault(identity, set()).add(x.numpy().tobytes())
    # A decoy is on three different pictures, of which each is seen two or three times.
    real = [i for i, pictures in people.items() if len(pictures) == 8]
    assert sorted(i % classes for i in real) == list(range(classes))
    assert all(len(pictures) == 3 for i, pictures in people.items() if i not in real)
    assert len(set().union(*people.values())) == len(private) + 3 * defended.DECOYS * classes


def test_the_place_of_the_person_is_drawn() -> None:
    def places(seed: int) -> list[int]:
        context = replace(defended.context(), seed=seed)
        training = AnonymitySet(defended.settings("anonymity_set")).training_job(context)
        first = training.class_N[: len(context.private_class_N)]
        return cast(list[int], first.div(defended.CLASSES, rounding_mode="floor").unique().tolist())

    # The private pictures come first; over some seeds a person stands at every place.
    assert {place for seed in range(5) for place in places(seed)} == {0, 1, 2}


@pytest.mark.parametrize("kind", ["strangers", "generated"])
def test_recipe_and_seed_do_not_tell_the_place(kind: str) -> None:
    """Whoever lacks one private picture draws other places and other decoys."""

    def drawn(context: DefenseContext) -> tuple[Tensor, Tensor]:
        training = AnonymitySet(defended.settings("anonymity_set", kind=kind)).training_job(context)
        own = len(context.private_class_N)
        return training.class_N[:own], cast(Tensor, training.images_NCHW[own:])

    context = replace(defended.context(), generator=defended.Faces())
    other_NCHW = context.private_NCHW[:].clone()
    other_NCHW[-1, 0, 0, 0] ^= 1
    place, decoys = drawn(context)
    again_place, again_decoys = drawn(context)
    assert torch.equal(place, again_place)
    assert torch.equal(decoys, again_decoys)
    other_place, other_decoys = drawn(replace(context, private_NCHW=other_NCHW))
    assert not torch.equal(place, other_place)
    assert not torch.equal(decoys, other_decoys)


def test_a_share_makes_decoys_rarer() -> None:
    count = torch.bincount(job(share=0.5).class_N).reshape(defended.DECOYS + 1, defended.CLASSES)
    assert count.sum(0).tolist() == [8 + 4 * defended.DECOYS] * defended.CLASSES


def test_decoys_may_be_shown_on_their_own_pictures_once() -> None:
    training = job(share=None)
    count = torch.bincount(training.class_N).reshape(defended.DECOYS + 1, defended.CLASSES)
    assert count.sum(0).tolist() == [8 + 3 * defended.DECOYS] * defended.CLASSES
    assert len(training.images_NCHW.flatten(1).unique(dim=0)) == len(training.images_NCHW)


def test_the_decoys_are_the_strangers_on_the_most_pictures() -> None:
    context = defended.context()
    assert context.decoy_person_N is not None
    assert context.decoy_NCHW is not None
    # Of the 35 strangers those after the 10th lose all but one picture.
    kept = (context.decoy_person_N < 10) | (torch.arange(len(context.decoy_person_N)) % 3 == 0)
    few = replace(
        context,
        decoy_NCHW=context.decoy_NCHW[kept],
        decoy_person_N=context.decoy_person_N[kept],
    )
    settings = defended.settings("anonymity_set", share=None)
    training = AnonymitySet(settings).training_job(few)
    assert len(training.images_NCHW) == len(context.private_NCHW) + 10 * 3


def test_strangers_teach_and_are_not_released() -> None:
    training = job(strangers=True)
    assert int(training.class_N.max()) + 1 == defended.CLASSES * 3 + defended.STRANGERS
    product = training.learner.product()
    built = AnonymitySet(defended.settings("anonymity_set")).build(defended.blueprint())
    shapes = {name: value.shape for name, value in built.state_dict().items()}
    assert {name: value.shape for name, value in product.state_dict().items()} == shapes
    learned, released = training.learner.recognizer.network, product.network
    x_NCHW = defended.pictures()
    learned.eval()
    released.eval()
    expected = learned.logits(x_NCHW)[:, : defended.CLASSES * 3]
    torch.testing.assert_close(released.logits(x_NCHW), expected)


def test_a_pretrained_trunk_starts_from_the_recognizer_of_public_people() -> None:
    classifier = defended.context().classifier
    assert classifier is not None
    weights = classifier.backbone.state_dict()
    for pretrained in (True, False):
        trunk = job(pretrained=pretrained).learner.recognizer.network.backbone.state_dict()
        same = [
            torch.equal(value, weights[name]) for name, value in trunk.items() if value.ndim > 1
        ]
        assert all(same) == pretrained
    settings = [defended.settings("anonymity_set", pretrained=p) for p in (True, False)]
    assert ["classifier" in AnonymitySet(s).needed() for s in settings] == [True, False]
    assert "pretrained" not in settings[1].trained_part()


def test_the_lengths_of_the_centres_tell_nothing() -> None:
    training = job()
    with torch.no_grad():
        training.learner.recognizer.network.head.weight_KD[0] *= 3
    head = training.learner.product().network.head
    torch.testing.assert_close(head.weight_KD.norm(dim=1), torch.ones(defended.CLASSES * 3))


def test_without_decoys_it_is_the_victim() -> None:
    training = job(decoys=0)
    context = defended.context()
    assert torch.equal(training.class_N, context.private_class_N)
    assert torch.equal(training.images_NCHW, context.private_NCHW)


def test_a_given_victim_is_refused() -> None:
    blueprint = VictimBlueprint(ModelShape(5, 3, 16), nn.Identity)
    with pytest.raises(ValueError, match="a given victim's head cannot be replaced"):
        AnonymitySet(AnonymitySetSettings()).build(blueprint)


def test_generated_decoys_need_an_encoder() -> None:
    class Blind(defended.Faces):
        def encode(self, x_NCHW: Tensor) -> Tensor | None:
            return None

    context = replace(defended.context(), generator=Blind())
    settings = defended.settings("anonymity_set", kind="generated")
    with pytest.raises(ValueError, match="encoder"):
        AnonymitySet(settings).training_job(context)


def test_generated_people_differ_more_than_their_pictures() -> None:
    context = replace(defended.context(), generator=defended.Faces())
    settings = defended.settings("anonymity_set", kind="generated")
    training = AnonymitySet(settings).training_job(context)
    assert torch.bincount(training.class_N).tolist() == [8] * defended.CLASSES * 3


def test_spreads_within_and_between_people() -> None:
    # People at 0 and 10, each on two pictures at a distance of 1: the variance within is 4 / (4 - 2) = 2, and that
    # of the means is 50, of which 2 / 2 comes from the scatter of two pictures.
    z_ND = torch.tensor([[-1.0], [1.0], [9.0], [11.0]])
    between, within = spreads(z_ND, torch.tensor([0, 0, 1, 1]))
    assert within.item() == pytest.approx(2**0.5)
    assert between.item() == pytest.approx((50 - 1) ** 0.5)


def test_the_undefended_victim_has_one_centre_a_label() -> None:
    model = defended.protected(defended.settings("none"))
    x_NCHW = defended.pictures()
    assert model.centres == 1
    torch.testing.assert_close(model.centre_log_scores(x_NCHW)[..., 0], model.log_scores(x_NCHW))


def test_an_attacker_with_the_weights_sees_the_lengths_of_the_centres() -> None:
    shape = ModelShape(5, 3, 16)
    settings = RecognizerSettings(
        network=SmallResnet.Settings(width=4, blocks=(1,), feature_size=8),
        loss=CrossEntropy.Settings(),
    )
    network = Recognizer(settings, classes=10, channels=3, image_size=16, seed=0)
    recognizer = AnonymitySetRecognizer(network, classes=shape.classes, centres=2)
    view = WhiteBox(BatchInvariantModel(Undefended(recognizer)), 1)
    length_KC = view.of_centres().centre_lengths()
    assert length_KC is not None
    # Identity c K + k is centre c of label k.
    assert isinstance(network.head, CrossEntropy)
    torch.testing.assert_close(length_KC[2, 1], network.head.dense.weight[1 * 5 + 2].norm())
    assert WhiteBox(Undefended(network), 1).centre_lengths() is None
