"""Every registered attack keeps the same promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inversionlab.access import Labels, Scores, View, WhiteBox
from inversionlab.attacks import ATTACKS, AttackError
from inversionlab.stages.attack import Attacked, arm, run_attack
from tests import toys

NULLS = [name for name, attack in ATTACKS.items() if attack.view is None]
REAL = [name for name, attack in ATTACKS.items() if attack.view is not None]


def settings(name: str) -> object:
    """Settings that let the attack finish on the toy world: the pixel attack's rate is for real faces."""
    extra = {"pixel_gray_box": {"rate": 0.5}}.get(name, {})
    return ATTACKS[name].Settings(name=name, **extra)


def attack(name: str, pairs: list[tuple[int, int]], channels: int = 1) -> Attacked:
    armed = arm(settings(name), toys.knowledge(channels))
    model = None if ATTACKS[name].view is None else toys.victim(channels)
    return run_attack(armed, model, pairs)


def own_scores(found: Attacked, pairs: list[tuple[int, int]], channels: int = 1) -> Tensor:
    """The victim's score of each row's target."""
    target = torch.tensor([t for t, _ in pairs])[:, None]
    return toys.victim(channels).log_scores(found.found.images_NCHW).exp().gather(1, target)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", REAL)
def test_beats_every_null_attack_by_far(name: str, channels: int) -> None:
    score = own_scores(attack(name, toys.ALL, channels), toys.ALL, channels).mean()
    nulls = [own_scores(attack(n, toys.ALL, channels), toys.ALL, channels).mean() for n in NULLS]
    assert score > 0.95
    assert max(nulls) < 0.5


@pytest.mark.parametrize("name", ATTACKS)
def test_pictures_are_in_range_and_one_a_job(name: str) -> None:
    images = attack(name, toys.ALL).found.images_NCHW
    assert images.shape == (len(toys.ALL), 1, toys.SIZE, toys.SIZE)
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("name", ATTACKS)
def test_rows_do_not_depend_on_the_cut(name: str, size: int) -> None:
    whole = attack(name, toys.ALL)
    order = list(reversed(toys.ALL))
    parts = [attack(name, order[i : i + size]) for i in range(0, len(order), size)]
    images = torch.cat([p.found.images_NCHW for p in parts]).flip(0)
    torch.testing.assert_close(images, whole.found.images_NCHW, atol=1e-4, rtol=0)
    steps = torch.cat([p.found.steps_N for p in parts]).flip(0)
    assert torch.equal(steps, whole.found.steps_N)
    assert torch.equal(torch.cat([p.queries_N for p in parts]).flip(0), whole.queries_N)


@pytest.mark.parametrize("name", ATTACKS)
def test_same_seed_same_rows_and_repeats_differ(name: str) -> None:
    first, second = attack(name, toys.ALL), attack(name, toys.ALL)
    assert torch.equal(first.found.images_NCHW, second.found.images_NCHW)
    assert not torch.equal(first.found.images_NCHW[0], first.found.images_NCHW[1])


@pytest.mark.parametrize("name", REAL)
def test_ledger_counts_the_pictures_that_reached_the_model(name: str) -> None:
    seen = 0
    model = toys.victim()
    inner = model.log_scores

    def counting(x_NCHW: Tensor) -> Tensor:
        nonlocal seen
        seen += len(x_NCHW)
        return inner(x_NCHW)

    model.log_scores = counting  # type: ignore[method-assign]
    found = run_attack(arm(settings(name), toys.knowledge()), model, toys.ALL)
    assert int(found.queries_N.sum()) == seen > 0


@pytest.mark.parametrize("name", NULLS)
def test_null_attacks_ask_nothing(name: str) -> None:
    assert int(attack(name, toys.ALL).queries_N.sum()) == 0


@pytest.mark.parametrize("name", REAL)
def test_converged_rows_leave_early(name: str) -> None:
    found = attack(name, toys.ALL)
    assert bool(found.found.converged_N.all())
    # A row that took s updates was evaluated s + 1 times, no more.
    assert torch.equal(found.queries_N, found.found.steps_N + 1)


@pytest.mark.parametrize("name", REAL)
def test_not_a_number_names_attack_and_target(name: str) -> None:
    model = toys.victim()
    model.sharpness = float("nan")
    with pytest.raises(AttackError, match=rf"{name}.*target 3"):
        run_attack(arm(settings(name), toys.knowledge()), model, [(3, 0), (4, 0)])


@pytest.mark.parametrize("name", REAL)
def test_refuses_a_lesser_view(name: str) -> None:
    wanted = ATTACKS[name].view
    assert wanted is not None
    lesser: list[type[View]] = [v for v in (WhiteBox, Scores, Labels) if not issubclass(v, wanted)]
    for view in lesser:
        with pytest.raises(TypeError, match=wanted.__name__):
            arm(settings(name), toys.knowledge()).run(view(toys.victim(), 1), toys.jobs([(0, 0)]))


@pytest.mark.parametrize("name", REAL)
def test_weights_are_left_alone(name: str) -> None:
    model = toys.victim()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    run_attack(arm(settings(name), toys.knowledge()), model, toys.ALL[:2])
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", [n for n, a in ATTACKS.items() if a.needs_generator])
def test_needs_its_generator(name: str) -> None:
    know = toys.knowledge()
    bare = type(know)(None, know.public_NCHW, know.seed, know.device)
    with pytest.raises(ValueError, match="needs a generator"):
        arm(settings(name), bare)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ATTACKS)
def test_gpu_finds_what_the_cpu_finds(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    armed = arm(settings(name), toys.knowledge(device=device))
    model = None if ATTACKS[name].view is None else toys.victim(device=device)
    there = run_attack(armed, model, toys.ALL).found.images_NCHW.cpu()
    torch.testing.assert_close(there, attack(name, toys.ALL).found.images_NCHW, atol=1e-2, rtol=0)
