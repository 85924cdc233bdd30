"""MI-FACE: one update by hand, its two stop criteria, its cost and its picture processing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inversionlab.attacks import AttackResult, mi_face
from inversionlab.attacks.mi_face import MiFace, MiFaceSettings, non_local_means, variation
from inversionlab.core.views import WhiteBox
from tests import toys


class Brightness:
    """Two classes; the logit of class 1 is `slope` times the sum of the pixels less `middle`."""

    classes = 2

    def __init__(self, slope: float, middle: float) -> None:
        self.slope, self.middle = slope, middle

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        logit_N = self.slope * (x_NCHW.flatten(1).sum(1) - self.middle)
        return torch.stack([torch.zeros_like(logit_N), logit_N], 1).log_softmax(1)


def run(settings: MiFaceSettings, model: Brightness) -> tuple[AttackResult, WhiteBox]:
    view = WhiteBox(model, 1)
    return MiFace(settings, toys.context()).run(view, toys.jobs([(1, 0)])), view


@pytest.mark.parametrize("cost", ["probability", "cross_entropy"])
def test_one_update_by_hand(cost: str) -> None:
    # All 64 pixels are equal up to the noise, and so is the gradient: -slope p (1 - p) for 1 - p, and
    # -slope (1 - p) for -log p. Start: 0.5 + noise of mean 0.5/255, where p = 0.5 up to the noise.
    settings = MiFaceSettings(cost=cost, rate=1.0, steps=1, blank=0.5, stop=0.999)
    result, _ = run(settings, Brightness(0.4, 64 * (0.5 + 0.5 / 255)))
    rise = 0.4 * 0.5 * (0.5 if cost == "probability" else 1)
    wanted = 0.5 + 0.5 / 255 + rise
    assert float(result.images_NCHW.mean()) == pytest.approx(wanted, abs=2e-3)


def test_starts_from_blank_with_invisible_noise() -> None:
    result, view = run(MiFaceSettings(stop=1e-6), Brightness(0.0, 0.0))
    assert 0 <= float(result.images_NCHW.min()) < float(result.images_NCHW.max()) <= 1 / 255
    assert result.steps_N.tolist() == [0]
    assert view.queries.tolist() == [1]


@pytest.mark.parametrize("patience", [1, 7])
def test_a_cost_that_never_falls_ends_the_row(patience: int) -> None:
    # The cost stays log 2: at update beta it is no better than the worst of the beta before it.
    result, view = run(MiFaceSettings(patience=patience), Brightness(0.0, 0.0))
    assert result.steps_N.tolist() == [patience]
    assert view.queries.tolist() == [patience + 1]
    assert result.converged_N.tolist() == [False]


def test_stops_at_the_confidence_and_not_before() -> None:
    result, _ = run(MiFaceSettings(rate=0.5, stop=0.9), Brightness(0.1, 32.0))
    assert result.converged_N.tolist() == [True]
    assert 0.9 < float(result.confidence_N) < 0.95
    assert float(result.confidence_N) == pytest.approx(
        1 / (1 + math.exp(-0.1 * (float(result.images_NCHW.sum()) - 32))), rel=1e-4
    )


def test_variation_by_hand() -> None:
    # Rows (0 1) and (0 1): 0 downwards, 1 along; rows (0 0) and (1 1), the other way round.
    x_NCHW = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]], [[[0.0, 0.0], [0.5, 0.5]]]])
    assert variation(x_NCHW).tolist() == [0.5, 0.25]


def test_auxiliary_term_smooths() -> None:
    plain, _ = run(MiFaceSettings(rate=0.5, stop=0.9), Brightness(0.1, 32.0))
    smooth, _ = run(MiFaceSettings(rate=0.5, stop=0.9, variation=0.05), Brightness(0.1, 32.0))
    assert float(variation(smooth.images_NCHW)) < 0.7 * float(variation(plain.images_NCHW))


def test_non_local_means_with_a_tiny_h_is_the_picture_itself() -> None:
    x_NCHW = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(non_local_means(x_NCHW, 1e-3), x_NCHW, atol=1e-5, rtol=0)


def test_non_local_means_with_a_huge_h_is_the_windows_mean() -> None:
    x_NCHW = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    middle = non_local_means(x_NCHW, 1e6)[0, 0, 4, 4]
    torch.testing.assert_close(middle, x_NCHW[0, 0, 1:8, 1:8].mean())


def test_non_local_means_calms_noise_and_keeps_an_edge() -> None:
    clean = torch.zeros(1, 1, 16, 16)
    clean[..., 8:] = 1
    noisy = clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    calm = non_local_means(noisy, 0.2)
    assert float((calm - clean).square().mean()) < 0.3 * float((noisy - clean).square().mean())
    assert float((calm[..., 8] - calm[..., 7]).min()) > 0.8


def test_sharpening_widens_an_edge_and_stays_in_range() -> None:
    # A column's step from 0.4 to 0.6: blurred, its sides are 0.4 + 0.2/3 and 0.6 - 0.2/3.
    x_NCHW = torch.full((1, 1, 8, 8), 0.4)
    x_NCHW[..., 4:] = 0.6
    sharp = mi_face.processed(x_NCHW, 1e-3, 1.5)
    torch.testing.assert_close(sharp[0, 0, 4, 2:6], torch.tensor([0.4, 0.3, 0.7, 0.6]))
    assert float(mi_face.processed(x_NCHW, 1e-3, 10.0).max()) == 1
    assert float(mi_face.processed(x_NCHW, 1e-3, 10.0).min()) == 0


def test_processes_as_often_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counting(x_NCHW: Tensor, denoise: float, sharpen: float) -> Tensor:
        calls.append(len(x_NCHW))
        return x_NCHW

    monkeypatch.setattr(mi_face, "processed", counting)
    run(MiFaceSettings(process_every=3, steps=10, patience=100), Brightness(0.0, 0.0))
    assert calls == [1, 1, 1]
