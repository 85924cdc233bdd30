"""Every registered defense keeps the same promises."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from inversionlab.attacks import ATTACKS
from inversionlab.core.learner import TrainingSettings
from inversionlab.core.views import Labels, Scores, WhiteBox
from inversionlab.defenses import DEFENSES, Layer
from inversionlab.pipeline.batch_invariant import BatchInvariantModel
from tests import defended
from tests.defended import make, pictures, protected, settings

TRAINED = [name for name, kind in DEFENSES.items() if kind.trains]
KEEPING = [name for name, kind in DEFENSES.items() if kind.keeps_labels]


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    """As in an attack worker."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", DEFENSES)
def test_outputs_are_probability_vectors(name: str) -> None:
    y_NK = protected(settings(name)).log_scores(pictures()).exp()
    assert y_NK.shape == (6, defended.CLASSES)
    torch.testing.assert_close(y_NK.sum(1), torch.ones(6))
    assert float(y_NK.min()) >= 0


@pytest.mark.parametrize("name", DEFENSES)
def test_gradients_flow_through_the_white_box(name: str) -> None:
    x_NCHW = pictures().requires_grad_(True)
    view = WhiteBox(protected(settings(name)), 6)
    (g,) = torch.autograd.grad(view.log_scores(x_NCHW, torch.arange(6))[:, 2].sum(), x_NCHW)
    assert bool(g.isfinite().all())
    assert bool((g.flatten(1).norm(dim=1) > 0).all())


@pytest.mark.parametrize("name", DEFENSES)
def test_without_gradients_it_computes_and_keeps_none(name: str) -> None:
    model = protected(settings(name))
    with torch.no_grad():
        y_NK = model.log_scores(pictures())
    assert not y_NK.requires_grad
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", DEFENSES)
def test_scores_do_not_depend_on_the_other_pictures_in_the_batch(name: str) -> None:
    model, x_NCHW = BatchInvariantModel(protected(settings(name))), pictures(9)
    with torch.no_grad():
        together = model.log_scores(x_NCHW)
        apart = torch.cat([model.log_scores(x) for x in x_NCHW.split([1, 2, 5, 1])])
        again = model.log_scores(x_NCHW)
    assert torch.equal(together, apart)
    assert torch.equal(together, again)


@pytest.mark.parametrize("name", TRAINED)
def test_saved_and_loaded_gives_the_same_bits(name: str) -> None:
    """Through a file, into an untrained network; the facts about the model are stored too."""
    defense, below = make(settings(name)), defended.recognizer()
    learned = defended.trained(settings(name))
    first = defense.protect(below, learned)
    stored = safetensors.torch.save(learned.state_dict())
    network = defense.build(defended.blueprint())
    network.load_state_dict(safetensors.torch.load(stored))
    second = defense.protect(below, network.eval().requires_grad_(False))
    assert torch.equal(first.log_scores(pictures()), second.log_scores(pictures()))
    assert first.facts() == second.facts()


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_that_was_interrupted_ends_as_one_that_was_not(name: str) -> None:
    two = {"training": TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)}
    whole = defended.trained(settings(name, **two))
    kept = defended.Kept()
    with pytest.raises(defended.StoppedError):
        defended.trained(settings(name, **two), kept, interrupted_after=1)
    assert kept.state is not None
    resumed = defended.trained(settings(name, **two), kept)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("name", KEEPING)
def test_a_promise_to_keep_the_winning_class_is_kept(name: str) -> None:
    """No loss of accuracy on a thousand pictures, most of them meaningless to the victim."""
    x_NCHW, model = pictures(1000, seed=8), protected(settings(name))
    with torch.no_grad():
        released = model.log_scores(x_NCHW).argmax(1)
        before = defended.recognizer()(x_NCHW).argmax(1)
    assert torch.equal(released, before)


# One epoch is no real training: tests/defenses test what the other defenses learn.
@pytest.mark.parametrize("name", ["none", "dummy_recognizer", "uniform_noise", *KEEPING])
def test_the_victims_people_are_still_recognized(name: str) -> None:
    images, class_N = defended.people(defended.CLASSES, 8, 1)
    model = protected(settings(name))
    with torch.no_grad():
        won = model.log_scores(images.float() / 255).argmax(1)
    assert float((won == class_N).float().mean()) >= 0.9


@pytest.mark.parametrize("name", DEFENSES)
def test_it_trains_exactly_if_it_says_so(name: str) -> None:
    defense = make(settings(name))
    if not defense.trains:
        with pytest.raises(NotImplementedError):
            defense.training_job(defended.context())
    else:
        training_job = defense.training_job(defended.context())
        assert len(training_job.images_NCHW) == len(training_job.class_N)
        assert training_job.images_NCHW.dtype == torch.uint8


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_seed_trains_the_same_network(name: str) -> None:
    first, second = (protected(settings(name), anew=True) for _ in range(2))
    assert torch.equal(first.log_scores(pictures()), second.log_scores(pictures()))


@pytest.mark.parametrize("name", TRAINED)
def test_its_training_leaves_the_victim_alone(name: str) -> None:
    before = {k: v.clone() for k, v in defended.recognizer().state_dict().items()}
    protected(settings(name), anew=True)
    after = defended.recognizer().state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())


@pytest.mark.parametrize("name", DEFENSES)
def test_inference_only_settings_exist(name: str) -> None:
    kind = DEFENSES[name].Settings
    assert kind.inference_only <= set(kind.model_fields)
    assert not kind.inference_only & set(settings(name).trained_part())


@pytest.mark.parametrize("name", DEFENSES)
def test_it_says_in_which_views_it_protects(name: str) -> None:
    kind = DEFENSES[name]
    assert kind.protects <= {WhiteBox, Scores, Labels}
    if kind.layer in (Layer.VICTIM, Layer.MIXTURE):
        assert WhiteBox in kind.protects, "what replaces the victim cannot be removed"
    if kind.layer == Layer.OUTPUT:
        assert WhiteBox not in kind.protects, (
            "what changes the scores can be removed by a holder of the weights"
        )


@pytest.mark.parametrize("name", DEFENSES)
def test_its_facts_are_numbers(name: str) -> None:
    facts = protected(settings(name)).facts()
    assert all(isinstance(k, str) and isinstance(v, float) for k, v in facts.items())


@pytest.mark.parametrize("name", DEFENSES)
def test_a_victims_share_of_one_means_undefended(name: str) -> None:
    kind, share = DEFENSES[name], DEFENSES[name].victim_share
    if share is None:
        return
    assert kind(settings(name).model_copy(update={share: 1.0})).idle()


@pytest.mark.parametrize("name", [n for n in DEFENSES if n != "none"])
def test_a_defense_names_an_attack_that_knows_of_it(name: str) -> None:
    assert ATTACKS[DEFENSES[name].aware_attack].knows_defense
