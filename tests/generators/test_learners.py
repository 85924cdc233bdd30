"""What the learner of every generator must do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from inversionlab import generators
from inversionlab.core.learner import Learner
from inversionlab.generators import GENERATORS
from inversionlab.generators.gan_ada import GanAda
from inversionlab.generators.gan_training import GanLearner
from inversionlab.generators.plg_gan import PlgGan
from inversionlab.generators.vae import Vae
from tests.generators.small import TRAINED, small


def _learner(name: str, seed: int = 0, **more) -> Learner:
    settings = small(name, **more)
    return generators.learner(settings, channels=3, image_size=16, seed=seed, classes=3)


def _gan(**more) -> GanLearner:
    learner = _learner("gan_ada", discriminator_width=4, **more)
    assert isinstance(learner, GanLearner)
    return learner


def _pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def _labels(learner: Learner, count: int) -> Tensor:
    """Scores (N, 3) of a target model where the generator learns from them, else class numbers."""
    if isinstance(learner.product(), PlgGan):
        return torch.arange(count) % 3
    if not getattr(learner.product(), "learns_from_target", False):
        return torch.zeros(count, dtype=torch.int64)
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(2)).softmax(dim=1)


def _step(
    learner: Learner, count: int = 8, seed: int = 0, sync=lambda p: None
) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return learner.step(_pictures(count), _labels(learner, count), rng, sync)


def _weights(learner: Learner) -> Tensor:
    modules = learner.modules.values()
    return torch.cat([p.detach().flatten().clone() for m in modules for p in m.parameters()])


@pytest.mark.parametrize("name", TRAINED)
def test_equal_seeds_train_equally_and_the_global_stream_is_untouched(name):
    before = torch.get_rng_state()
    runs = []
    for _ in range(2):
        learner = _learner(name, seed=5)
        _step(learner)
        runs.append(_weights(learner))
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(_weights(_learner(name, seed=5)), _weights(_learner(name, seed=6)))


@pytest.mark.parametrize("name", TRAINED)
def test_sync_sees_every_trained_weight_once_before_it_moves(name):
    learner = _learner(name)
    trained = {
        id(p): p.detach().clone()
        for optimizer in learner.optimizers.values()
        for group in optimizer.param_groups
        for p in group["params"]
    }
    seen: list[int] = []

    def sync(parameters):
        for p in parameters:
            assert p.grad is not None
            if id(p) in trained:
                assert torch.equal(p, trained[id(p)]), "it moved before its gradient was averaged"
                seen.append(id(p))

    _step(learner, sync=sync)
    assert sorted(seen) == sorted(trained)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("count", [2, 5])
def test_a_small_last_batch_is_taken(name, count):
    losses = _step(_learner(name), count=count)
    assert all(loss.ndim == 0 and not loss.requires_grad for loss in losses.values())
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("name", TRAINED)
def test_schedule_reaches_every_optimizer(name):
    learner = _learner(name)
    peak = learner.optimizers[next(iter(learner.optimizers))].param_groups[0]["lr"]
    learner.schedule(0.9)
    rates = {g["lr"] for o in learner.optimizers.values() for g in o.param_groups}
    settings = GENERATORS[name].Settings()
    if settings.training.schedule == "constant":
        factor = getattr(settings, "discriminator_rate", 1.0)
        assert sorted(rates) == pytest.approx(sorted({peak, factor * peak}))
    else:
        assert len(rates) == 1
        assert 0 < rates.pop() < 0.1 * peak


@pytest.mark.parametrize("name", TRAINED)
def test_a_checkpoint_carries_all_that_a_training_needs_to_go_on(name):
    """Two steps in a row, and one step, a checkpoint, a fresh learner and one more step, are the same."""
    whole, first, second = (_learner(name, seed=seed) for seed in (5, 5, 9))
    for seed in (0, 1):
        _step(whole, seed=seed)
    _step(first, seed=0)
    for key, module in second.modules.items():
        module.load_state_dict(first.modules[key].state_dict())
    for key, optimizer in second.optimizers.items():
        optimizer.load_state_dict(copy.deepcopy(first.optimizers[key].state_dict()))
    second.counters.update(first.counters)
    _step(second, seed=1)
    expected, found = whole.product().state_dict(), second.product().state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", TRAINED)
def test_samples_are_the_same_latents_each_time(name):
    learner = _learner(name)
    first = learner.samples(3)
    assert first is not None
    assert first.shape == (3, 3, 16, 16)
    assert torch.equal(first, learner.samples(3))


def test_vae_learns_to_reconstruct():
    # Two plain colours: a latent of length 6 holds them easily.
    x_NCHW = torch.tensor([0.1, 0.9]).repeat(8)[:, None, None, None].expand(16, 3, 16, 16)
    settings = Vae.Settings(latent_size=6, width=4, beta=0.01)
    learner = generators.learner(settings, channels=3, image_size=16, seed=0)
    rng = torch.Generator().manual_seed(0)
    nobody = torch.zeros(16, dtype=torch.int64)
    losses = [
        learner.step(x_NCHW, nobody, rng, lambda p: None)["reconstruction"].item()
        for _ in range(60)
    ]
    assert losses[-1] < 0.1 * losses[0]


def test_vae_losses_by_hand():
    learner = _learner("vae")
    # An encoder whose output is mu = 1, log sigma^2 = 0: the divergence is 1/2 for each of 6 entries.
    last = learner.modules["vae"].encoder[-1]
    last.weight.data.zero_()
    last.bias.data = torch.cat([torch.ones(6), torch.zeros(6)])
    losses = _step(learner)
    assert losses["divergence"].item() == pytest.approx(3.0, rel=1e-5)


def test_discriminator_learns_to_tell_generated_pictures():
    learner = _gan(ada_limit=0.0)
    learner.optimizers["generator"].param_groups[0]["lr"] = 0.0  # an opponent that stands still
    learner.optimizers["discriminator"].param_groups[0]["lr"] = 1e-2
    losses = [_step(learner, seed=i)["discriminator"].item() for i in range(40)]
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(("bias", "expected"), [(100.0, 0.4), (-100.0, 0.2)])
def test_augmentation_follows_the_sign_on_real_pictures(bias, expected):
    learner = _gan(ada_pictures=80)
    learner.counters["augment_p"] = 0.3
    learner.discriminator.score.bias.data.fill_(bias)  # every picture looks real, or none does
    _step(learner, count=8)
    assert learner.counters["augment_p"] == pytest.approx(expected)  # 8 / 80 up or down


def test_augmentation_stays_within_its_bounds():
    learner = _gan(ada_pictures=1, ada_limit=0.7)
    learner.discriminator.score.bias.data.fill_(100.0)
    _step(learner)
    assert learner.counters["augment_p"] == 0.7
    learner.discriminator.score.bias.data.fill_(-100.0)
    _step(learner)
    assert learner.counters["augment_p"] == 0.0


def test_the_sign_is_averaged_over_the_workers():
    """All workers must keep one p: the sign goes through `sync` like a gradient."""
    learner = _gan(ada_pictures=80)
    learner.counters["augment_p"] = 0.3
    learner.discriminator.score.bias.data.fill_(100.0)

    def sync(parameters):
        for p in parameters:
            if p.ndim == 0:
                p.grad.fill_(-1.0)  # as if the other workers outvoted this one

    _step(learner, count=8, sync=sync)
    assert learner.counters["augment_p"] == pytest.approx(0.2)


def test_the_product_is_a_running_average_of_the_generator():
    learner = _gan(average_pictures=8)
    learner.counters["pictures"] = 1e6  # late: the half-life of 8 pictures holds
    name, start = next(iter(learner.average.named_parameters()))
    start = start.clone()
    _step(learner, count=8)
    now = dict(learner.generator.named_parameters())[name]
    expected = (start + now) / 2
    torch.testing.assert_close(dict(learner.product().named_parameters())[name], expected)
    assert isinstance(learner.product(), GanAda)


@pytest.mark.parametrize("name", TRAINED)
def test_in_bfloat16_a_step_is_another_one_but_weights_and_losses_are_float32_and_close(name):
    steps = {}
    for precision in ("fp32", "bf16"):
        learner = _learner(name)
        learner.precision = precision
        losses = _step(learner)
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        weights = [p for m in learner.modules.values() for p in m.parameters()]
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in weights)
        steps[precision] = losses, _weights(learner)
    plain, half = steps["fp32"], steps["bf16"]
    assert not torch.equal(plain[1], half[1])
    for key, loss in plain[0].items():
        torch.testing.assert_close(half[0][key], loss, rtol=0.05, atol=0.05)
