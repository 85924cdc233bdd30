"""The peers' loops do what their cards say, on cases that can be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from benchmarks.peers import gmi, ked_mi, mi_face, mirror, ppa
from benchmarks.peers.networks import Networks, Pause
from benchmarks.peers.rounds import PEERS
from torch import Tensor

from tests import toys


class Line:
    """Latents are pictures of one pixel; the critic likes none better."""

    latent_size = 1

    def __call__(self, z_ND: Tensor) -> Tensor:
        return z_ND.view(-1, 1, 1, 1)

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.randn(count, 1, generator=rng)

    def critic(self, x_NCHW: Tensor) -> Tensor:
        return 0 * x_NCHW.flatten(1).sum(1)


def line() -> Networks:
    """Two classes with logits (x, -x), so CE of class 0 is log(1 + exp(-2x))."""
    generator: Any = Line()
    return Networks(
        lambda x: torch.cat([x.flatten(1), -x.flatten(1)], 1), generator, (1, 1, 1), toys.CPU
    )


def toy() -> Networks:
    generator: Any = toys.ToyGenerator().requires_grad_(False)
    return Networks(toys.victim().log_scores, generator, (1, toys.SIZE, toys.SIZE), toys.CPU)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ALL = torch.arange(toys.CLASSES)


def scores(networks: Networks, pause: Pause) -> Tensor:
    """The target's score of each picture of a pause."""
    return networks.scores(pause.pictures()).gather(1, ALL[:, None])[:, 0]


def test_gmi_moves_as_the_authors_momentum_does() -> None:
    settings = gmi.Gmi(rate=0.1, momentum=0.9, clip=1.0)
    z, v, g = (torch.tensor([[x]]) for x in (0.5, 0.2, 3.0))
    z, v = gmi.moved(z, v, g, settings)
    # v' = 0.18 - 0.3; z' = 0.5 - 0.18 + 1.9 v'.
    torch.testing.assert_close(v, torch.tensor([[-0.12]]))
    torch.testing.assert_close(z, torch.tensor([[0.092]]))
    z, _ = gmi.moved(z, v, torch.tensor([[-100.0]]), settings)
    assert z.item() == 1.0, "clipped"


@pytest.mark.parametrize("count", [1, 4])
def test_gmi_averages_its_loss_over_the_batch(count: int) -> None:
    settings = gmi.Gmi(starts=1, steps=1, rate=0.01, identity_weight=3.0, clip=100.0)
    (pause,) = gmi.loop(line(), torch.zeros(count, dtype=torch.long), settings, stream())
    z_N1 = torch.randn(count, 1, generator=stream())
    slope_N1 = -3.0 * 2 / (1 + (2 * z_N1).exp()) / count
    expected_N1 = z_N1 - 1.9 * 0.01 * slope_N1
    torch.testing.assert_close(pause.pictures().view(count, 1), expected_N1)


def test_gmi_keeps_the_start_of_highest_logit() -> None:
    points = [torch.tensor([[0.3], [0.9]]), torch.tensor([[0.5], [-0.2]])]
    best = gmi.chosen(line(), torch.tensor([0, 1]), points)
    # Class 0 wants large pixels, class 1 small ones.
    assert best.flatten().tolist() == pytest.approx([0.5, -0.2])
    settings = gmi.Gmi(starts=3, steps=2)
    pauses = [*gmi.loop(line(), torch.tensor([0]), settings, stream())]
    assert [p.updates for p in pauses] == [1, 2, 3, 4, 5, 6]


def test_ked_mi_takes_adams_first_step_on_mean_and_log_variance() -> None:
    settings = ked_mi.KedMi(steps=1, rate=0.02)
    (pause,) = ked_mi.loop(line(), torch.tensor([0]), settings, stream(3))
    rng = stream(3)
    first, second = (float(torch.randn(1, 1, generator=rng)) for _ in range(2))
    # Adam's first step is the rate, against the sign of the slope; the slope in z is negative.
    log_variance = 1 + math.copysign(0.02, first)
    assert float(pause.pictures()) == pytest.approx(
        0.02 + math.exp(log_variance / 2) * second, rel=1e-5
    )
    assert float(pause.pictures()) == float(pause.pictures()), "looking changes nothing"


def test_mirror_clips_p_at_its_standard_deviations() -> None:
    # p = (-1, 1): mean 0, standard deviation 1.
    w_SW = torch.tensor([[-0.2], [1.0]])
    for deviations, low, high in ((1.0, -0.2, 1.0), (2.0, -0.4, 2.0)):
        found = mirror.bounds(w_SW, deviations)
        torch.testing.assert_close(found, (torch.tensor([low]), torch.tensor([high])))
    # p = (0, 2): mean 1, and 3 deviations below it is -2.
    low_W, high_W = mirror.bounds(torch.tensor([[0.0], [2.0]]), 3.0)
    torch.testing.assert_close((low_W, high_W), (torch.tensor([-0.4]), torch.tensor([4.0])))


def test_mirror_stays_in_its_space_and_its_rate_rises_and_falls() -> None:
    networks, seen = toy(), list[Tensor]()
    synthesize = networks.generator.synthesize
    networks.generator.synthesize = lambda w: seen.append(w.detach().clone()) or synthesize(w)  # type: ignore
    settings = mirror.Mirror(samples=200, candidates=3, steps=4, batch=3, rate=50.0)
    pauses = [*mirror.loop(networks, ALL, settings, stream())]
    assert [p.updates for p in pauses] == [3, 6, 9, 12]
    w_SW = networks.generator.style(networks.generator.draw(200, stream()))
    low_W, high_W = mirror.bounds(w_SW, 1.0)
    # The samples themselves may lie outside, and so may the first update's points.
    moved = torch.cat([w for w in seen if len(w) == 3][toys.CLASSES :])
    assert bool(((moved >= low_W) & (moved <= high_W)).all())
    assert bool((moved == low_W).any()), "the rate is so large that some coordinates are at a bound"
    ramp = [mirror.ramp(done) for done in (0.0, 0.025, 0.05, 0.5, 0.875, 1.0)]
    assert ramp == pytest.approx([0, 0.5, 1, 1, 0.5, 0])


def test_mirrors_passes_hold_eight_rows_whatever_their_targets() -> None:
    networks, sizes = toy(), list[int]()
    logits = networks.logits
    networks = replace(networks, logits=lambda x: sizes.append(len(x)) or logits(x))  # type: ignore
    settings = mirror.Mirror(samples=50, candidates=3, steps=1)
    [*mirror.loop(networks, ALL, settings, stream())]
    assert sizes == [50, 8, 7], "the samples, then 15 rows"


def test_the_poincare_loss_has_the_value_of_its_formula() -> None:
    # u = (1/2, 1/2), v = (1/2, 0): |u - v|^2 = 1/4, 1 - |u|^2 = 1/2, 1 - |v|^2 = 3/4.
    loss = ppa.poincare(torch.tensor([[2.0, 2.0]]), torch.tensor([0]), xi=0.5)
    assert float(loss) == pytest.approx(math.acosh(1 + 2 * 0.25 / (0.5 * 0.75)), rel=1e-5)
    # The sign of a logit matters, its scale does not.
    a, b, c = ppa.poincare(
        torch.tensor([[3.0, -1.0], [6.0, -2.0], [-3.0, 1.0]]), torch.tensor([0, 0, 0])
    )
    assert float(a) == pytest.approx(float(b), rel=1e-5)
    assert float(a) < float(c)


def test_a_crop_is_a_part_at_full_size() -> None:
    x_NCHW = torch.arange(8.0).expand(2, 3, 8, 8)
    torch.testing.assert_close(ppa.crop(x_NCHW, (1.0, 1.0), (1.0, 1.0), stream()), x_NCHW)
    lefts = set()
    for seed in range(20):
        part = ppa.crop(x_NCHW, (0.25, 0.25), (1.0, 1.0), stream(seed))
        assert part.shape == x_NCHW.shape
        # Four of eight columns.
        assert float(part.max() - part.min()) == pytest.approx(3.0)
        lefts.add(float(part.min()))
    assert len(lefts) > 2


def test_ppa_starts_from_the_samples_that_score_best_flipped_or_not() -> None:
    networks = toy()
    settings = ppa.Ppa(samples=100, candidates=1, steps=1, rate=1e-9)
    (pause,) = ppa.loop(networks, ALL, settings, stream())
    x_SCHW = networks.generator(networks.generator.draw(100, stream()))
    score_SK = (networks.scores(x_SCHW) + networks.scores(x_SCHW.flip(3))) / 2
    expected = x_SCHW[score_SK.argmax(0)]
    torch.testing.assert_close(pause.pictures(), expected, atol=1e-4, rtol=1e-3)


def test_ppa_returns_the_candidate_that_crops_recognise_best() -> None:
    # Class 0 wants bright pictures. The second picture is brighter in the mean, but not in most of its crops.
    x_MCHW = torch.full((4, 1, 8, 8), 0.5)
    x_MCHW[1] = 0.0
    x_MCHW[1, :, 0, 0] = 40.0
    x_MCHW[2], x_MCHW[3] = 0.1, 0.2
    generator: Any = Line()
    generator.offers, generator.style = {"style"}, lambda z_BD: z_BD
    generator.synthesize = lambda w_BW: x_MCHW[w_BW[:, 0].long()]
    networks = replace(
        line(),
        logits=lambda x: torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1),
        generator=generator,
    )
    assert float(x_MCHW[1].mean()) > float(x_MCHW[0].mean())
    settings = ppa.Ppa(candidates=2, crops=100)
    w_MW = torch.arange(4.0)[:, None]
    best = ppa.chosen(networks, torch.tensor([0, 1]), w_MW, settings, stream())
    assert [float(x.median()) for x in best] == pytest.approx([0.5, 0.1])


def test_art_ends_rows_below_one_percent_and_the_paper_those_above_ninety_nine() -> None:
    infinite, cost_N = torch.full((3, 4), torch.inf), torch.tensor([0.995, 0.5, 0.005])
    on = torch.ones(3, dtype=torch.bool)
    art, paper = mi_face.MiFace(stopping="published"), mi_face.MiFace()
    assert mi_face.stays_active(cost_N, infinite, on, art).tolist() == [False, True, True]
    assert mi_face.stays_active(cost_N, infinite, on, paper).tolist() == [True, True, False]
    # No better than the worst of the window: ART goes on, the paper ends.
    full = torch.tensor([[0.99] * 4, [0.4] * 4, [0.6] * 4])
    worse_N = torch.tensor([0.995, 0.5, 0.5])
    assert mi_face.stays_active(worse_N, full, on, art).tolist() == [True, True, True]
    assert mi_face.stays_active(worse_N, full, on, paper).tolist() == [False, False, True]
    assert not mi_face.stays_active(worse_N, full, ~on, paper).any()


def test_mi_face_ascends_the_score_from_black() -> None:
    networks = toy()
    settings = mi_face.MiFace(steps=1, rate=5.0)
    (pause,) = mi_face.loop(networks, ALL, settings, stream())
    x_NCHW = torch.zeros(toys.CLASSES, *networks.shape, requires_grad=True)
    p_N = networks.logits(x_NCHW).exp().diagonal()
    (g_NCHW,) = torch.autograd.grad(p_N.sum(), x_NCHW)
    torch.testing.assert_close(pause.pictures(), (5.0 * g_NCHW).clamp(0, 1))


def test_mi_face_ends_with_its_last_row() -> None:
    # Toy scores of black are above 1 %, and 3 rows are soon above 99 %: the paper's rule ends them all in time.
    settings = mi_face.MiFace(steps=3000, rate=50.0)
    pauses = [*mi_face.loop(toy(), ALL, settings, stream())]
    assert len(pauses) < 3000
    assert pauses[-1].updates < len(pauses), "some rows ended before others"


@pytest.mark.parametrize("name", sorted(PEERS))
def test_more_updates_find_more(name: str) -> None:
    peer, networks = PEERS[name], toy()
    settings = replace(peer.at_equal_cost(60, 8, toys.CLASSES), rate=2.0 * peer.defaults.rate)
    first, *_, last = peer.loop(networks, ALL, settings, stream(1))
    assert first.updates == 1
    assert last.updates <= 60
    assert float(scores(networks, last).mean()) > float(scores(networks, first).mean())


def test_equal_cost_leaves_one_start_or_candidate() -> None:
    made = {name: peer.at_equal_cost(25.4, 64, 20) for name, peer in PEERS.items()}
    assert {each.steps for each in made.values()} == {25}
    assert made["gmi"].starts == made["mirror"].candidates == made["ppa"].candidates == 1
    # 64 pictures a target for 20 targets; PPA shows the model every sample twice.
    assert (made["mirror"].samples, made["ppa"].samples) == (1280, 640)
    assert made["ppa"].milestones == (15, 20), "after 3/5 and 4/5 of the updates"
    assert made["gmi"].rate == PEERS["gmi"].defaults.rate
