from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from inversionlab import generators
from inversionlab.attacks import ATTACKS, AttackerContext
from inversionlab.attacks.candidate_orders import ORDERS
from inversionlab.attacks.engine import Widths
from inversionlab.defenses.anonymity_set import AnonymitySetRecognizer
from inversionlab.defenses.base import Undefended
from inversionlab.generators import GENERATORS
from inversionlab.generators.vae import Vae
from inversionlab.given.loading import load_model
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import GivenModelSettings
from inversionlab.pipeline.attack import Attacked, make_attack, run_attack
from inversionlab.pipeline.batch_invariant import (
    LANE,
    BatchInvariantModel,
    BatchInvariantPrior,
    batch_invariant,
    batch_invariant_network,
)
from inversionlab.pipeline.train import frozen
from inversionlab.recognizers import Recognizer, RecognizerSettings
from tests.generators.small import small
from tests.given.outside_model import PEOPLE, SIDE, OutsideFiles
from tests.toys import CPU

SIZE = 32


pytestmark = pytest.mark.usefixtures("one_thread")


def networks() -> tuple[BatchInvariantPrior, BatchInvariantModel]:
    size = {"channels": 3, "image_size": SIZE}
    victim = Recognizer(RecognizerSettings(), classes=30, seed=1, **size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        generator = generators.build(Vae.Settings(latent_size=16, width=8), **size)
    frozen = [m.eval().requires_grad_(False) for m in (generator, Undefended(victim))]
    return BatchInvariantPrior(frozen[0]), BatchInvariantModel(frozen[1])  # type: ignore[arg-type]


def prior(name: str, classes: int = 30) -> BatchInvariantPrior:
    """A generator of this kind with random weights and batch statistics other than the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        settings = small(name, latent_size=8)
        made = generators.build(settings, channels=3, image_size=SIZE, classes=classes)
        made.train()(torch.randn(8, made.latent_size))
    return BatchInvariantPrior(made.eval().requires_grad_(False))


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_every_generators_rows_are_the_same_bits_at_every_batch_size(name: str) -> None:
    generator = prior(name)
    z_ND = torch.randn(16, generator.latent_size, generator=torch.Generator().manual_seed(0))
    with_critic = "critic" in GENERATORS[name].offers

    def passes(z: Tensor) -> tuple[Tensor, ...]:
        z = z.clone().requires_grad_(True)
        x = generator(z)
        score = generator.critic(x) if with_critic else x.flatten(1).square().sum(1)
        (g,) = torch.autograd.grad(score.sum(), z)
        return x.detach(), score.detach(), g

    whole = passes(z_ND)
    for size in (1, 3, 8, 13):
        parts = [passes(z) for z in z_ND.split(size)]
        for i in range(3):
            assert torch.equal(torch.cat([p[i] for p in parts]), whole[i]), (size, i)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 19])
def test_scores_and_gradients_are_the_same_bits_at_every_batch_size(size: int) -> None:
    generator, model = networks()
    z_ND = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))

    def passes(z: Tensor) -> tuple[Tensor, Tensor]:
        z = z.clone().requires_grad_(True)
        y = model.log_scores(generator(z))
        (g,) = torch.autograd.grad(y[:, 3].sum(), z)
        return y.detach(), g

    whole, parts = passes(z_ND), [passes(z) for z in z_ND.split(size)]
    for i in range(2):
        assert torch.equal(torch.cat([p[i] for p in parts]), whole[i])


def test_batch_invariant_passes_are_the_plain_ones_to_rounding() -> None:
    _, model = networks()
    x = torch.rand(3, 3, SIZE, SIZE)
    torch.testing.assert_close(model.log_scores(x), model.model.log_scores(x))


def test_linear_layers_see_lanes_of_one_height() -> None:
    layer, heights = nn.Linear(4, 2), []

    def spy(x: Tensor) -> Tensor:
        heights.append(len(x))
        return layer(x)

    plain = functional.linear(torch.ones(11, 4), layer.weight, layer.bias)
    torch.testing.assert_close(batch_invariant(spy, torch.ones(11, 4)), plain)
    assert heights == [11]
    assert len(batch_invariant(spy, torch.ones(1, 4))) == 1
    assert heights == [11, 2]
    assert LANE == 32


@pytest.mark.slow
def test_a_long_attack_that_never_converges_gives_the_same_pictures_in_any_shards() -> None:
    """The case that amplifies rounding: many steps, no stop."""
    generator, model = networks()
    public = torch.randint(
        0, 256, (20, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )
    context = AttackerContext(generator=generator, public_NCHW=public, seed=1, device=CPU)
    attack = make_attack(
        ATTACKS["latent_white_box"].Settings(
            name="latent_white_box", steps=150, step_length=0.1, patience=None
        ),
        context,
    )
    work = [(t, r) for t in range(3) for r in range(2)]
    whole = run_attack(attack, model, work).result
    alone = [run_attack(attack, model, [job]).result for job in work]
    assert int(whole.steps_N.max()) == 150
    assert torch.equal(torch.cat([a.images_NCHW for a in alone]), whole.images_NCHW)


@pytest.mark.parametrize("form", ["state", "script", "exported", "exported_fixed", "onnx"])
def test_given_models_of_every_form_give_the_same_bits_at_every_batch_size(
    outside: OutsideFiles, form: str
) -> None:
    settings = GivenModelSettings(model=str(getattr(outside, form)))
    if form == "state":
        model = "tests.given.outside_model:OutsideNet"
        settings = GivenModelSettings(model=model, weights=outside.state)
    given = GivenRecognizer(
        load_model(settings), settings, channels=3, answers="logits", classes=PEOPLE
    )
    assert given.raw.differentiable
    protected = BatchInvariantModel(Undefended(given))
    x_NCHW = torch.rand(19, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def passes(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone().requires_grad_(True)
        y = protected.log_scores(x)
        (g,) = torch.autograd.grad(y[:, 3].sum(), x)
        return y.detach(), g

    whole = passes(x_NCHW)
    for size in (1, 3, 8, 13):
        parts = [passes(x) for x in x_NCHW.split(size)]
        for i in range(2):
            assert torch.equal(torch.cat([p[i] for p in parts]), whole[i]), (size, i)


SHORT: dict[str, dict[str, Any]] = {
    "latent_black_box": {"steps": 3, "grid_every": 2, "perturbations": 16},
    "multi_mode": {"steps": 6, "pool": 6, "starts": 2},
    "centre_by_centre": {"steps": 12, "pool": 8, "rank_by": "width"},
    "ked_mi": {"steps": 12, "draws": 2},
    "mirror": {"steps": 12, "candidates": 8, "mapped": 64},
    "gmi": {"steps": 12, "starts": 2},
    "plg_mi": {"steps": 8, "starts": 2, "choice": 3},
    "ppa": {"steps": 12, "pool": 16, "kept": 2, "views": 3},
    "label_only": {"steps": 3, "start_queries": 256},
    "mi_face": {"steps": 20},
    "pixel_gray_box": {"steps": 20},
    "pixel_gan_seed": {"steps": 20, "pool": 16},
    "latent_white_box": {"steps": 20},
    "public_look_alike": {"pool": 16},
}


@pytest.mark.parametrize(
    "name", [n for n, a in ATTACKS.items() if a.view is not None and not a.trains]
)
def test_every_attack_gives_the_same_bits_in_any_shards_and_at_any_width(name: str) -> None:
    generator, model = networks()
    wants = ATTACKS[name].wants
    if wants:
        kinds = sorted(GENERATORS, key=lambda g: (GENERATORS[g].learns_from_target, g))
        generator = prior(next(g for g in kinds if wants <= GENERATORS[g].offers))
    public = torch.randint(
        0, 256, (20, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )
    work = [(t, 0) for t in range(9)]

    def run(jobs: list[tuple[int, int]], width: int) -> Attacked:
        context = AttackerContext(
            generator=generator, public_NCHW=public, seed=1, device=CPU, widths=Widths(width)
        )
        attack = make_attack(ATTACKS[name].Settings(name=name, **SHORT[name]), context)
        return run_attack(attack, model, jobs)

    whole = run(work, width=64)
    for width, cuts in ((1, (0, 9)), (7, (0, 9)), (64, (0, 1, 9))):
        parts = [run(work[a:b], width) for a, b in itertools.pairwise(cuts)]
        for field in ("images_NCHW", "confidence_N", "steps_N", "converged_N"):
            got = torch.cat([getattr(part.result, field) for part in parts])
            wanted = getattr(whole.result, field)
            assert torch.equal(got.nan_to_num(-1), wanted.nan_to_num(-1)), (width, cuts, field)
        assert torch.equal(torch.cat([part.queries_N for part in parts]), whole.queries_N)


def hidden() -> BatchInvariantModel:
    """A model whose 15 labels hold two identities each."""
    size = {"channels": 3, "image_size": SIZE}
    network = Recognizer(RecognizerSettings(), classes=30, seed=1, **size)
    recognizer = AnonymitySetRecognizer(network, classes=15, centres=2)
    return BatchInvariantModel(Undefended(recognizer.eval().requires_grad_(False)))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("distil_then_invert", {"steps": 15}),
        *(("centre_by_centre", {"rank_by": order, "steps": 8, "pool": 8}) for order in ORDERS),
    ],
)
def test_attacks_by_a_student_give_the_same_bits_in_any_shards_and_at_any_width(
    name: str, changed: dict[str, Any]
) -> None:
    generator, model = networks()
    model = hidden() if name == "centre_by_centre" else model
    settings = RecognizerSettings.model_validate({"network": {"name": "small_resnet", "width": 24}})
    student = Recognizer(settings, classes=model.classes, channels=3, image_size=SIZE, seed=4)
    public = torch.randint(
        0, 256, (20, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )
    work = [(t, 0) for t in range(9)]

    def pictures(jobs: list[tuple[int, int]], width: int) -> Tensor:
        context = AttackerContext(
            generator=generator,
            public_NCHW=public,
            seed=1,
            device=CPU,
            network=batch_invariant_network(frozen(student, CPU)),
            widths=Widths(width),
        )
        attack = make_attack(ATTACKS[name].Settings(name=name, **changed), context)
        return run_attack(attack, model, jobs).result.images_NCHW

    whole = pictures(work, 64)
    for width, cuts in ((1, (0, 9)), (7, (0, 9)), (64, (0, 1, 9))):
        parts = [pictures(work[a:b], width) for a, b in itertools.pairwise(cuts)]
        assert torch.equal(torch.cat(parts), whole), (width, cuts)
