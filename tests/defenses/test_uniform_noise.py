from __future__ import annotations

import math

import pytest
import torch

from inversionlab.defenses.uniform_noise import (
    UniformlyNoisy,
    UniformNoise,
    UniformNoiseSettings,
    uniform_of,
)
from tests.defenses.test_label_modifier import Table, pictures, random_scores


def noise(rows: int = 4000, classes: int = 10, seed: int = 1) -> torch.Tensor:
    return uniform_of(random_scores(rows, classes, 3.0, seed))


def ks(u_N: torch.Tensor) -> float:
    """The Kolmogorov-Smirnov distance from U(0, 1) times sqrt(N); above 1.95 by chance once in a thousand."""
    u_N, _ = u_N.flatten().sort()
    n = len(u_N)
    grid = torch.arange(1, n + 1).double() / n
    return math.sqrt(n) * float(torch.maximum(grid - u_N, u_N - grid + 1 / n).max())


def test_it_is_uniform_overall_and_in_each_entry() -> None:
    u_NK = noise()
    assert 0 < float(u_NK.min()) < float(u_NK.max()) < 1
    assert ks(u_NK) < 1.95
    for k in range(u_NK.shape[1]):
        assert ks(u_NK[:, k]) < 2.3, "above it by chance once in 20,000"


def test_entries_and_rows_are_independent() -> None:
    u_NK = noise()
    r_KK = torch.corrcoef(u_NK.T) - torch.eye(10)
    assert float(r_KK.abs().max()) < 4.5 / math.sqrt(4000)
    r = torch.corrcoef(torch.stack([u_NK[:-1].flatten(), u_NK[1:].flatten()]))[0, 1]
    assert abs(float(r)) < 4 / math.sqrt(u_NK[1:].numel())


def test_pairs_of_entries_fill_the_square() -> None:
    """Chi-square of 8 x 8 cells: 63 degrees of freedom, above 120 by chance once in 50,000."""
    u_NK = noise(8000)
    cell_N = (u_NK * 8).long()
    count = torch.bincount(cell_N[:, 0] * 8 + cell_N[:, 1], minlength=64).double()
    assert float(((count - 125).square() / 125).sum()) < 120


def test_one_bit_of_one_score_changes_the_whole_row() -> None:
    v_NK = random_scores(500, 10, 3.0, 1)
    other = v_NK.clone()
    other[:, 7] = other[:, 7].nextafter(torch.tensor(-torch.inf))
    one, two = uniform_of(v_NK), uniform_of(other)
    assert bool((one != two).all(dim=1).float().mean() > 0.99)
    assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.06


def test_exchanged_scores_get_other_noise() -> None:
    one = uniform_of(torch.tensor([[-1.0, -2.0, -3.0]]))
    two = uniform_of(torch.tensor([[-2.0, -1.0, -3.0]]))
    assert bool((one != two).all())


def test_equal_scores_get_equal_noise_in_any_batch() -> None:
    log_y_NK = random_scores(50, 10, 3.0, 1)
    model = UniformlyNoisy(Table(log_y_NK), 0.1)
    whole = model.log_scores(pictures(50))
    assert torch.equal(whole, model.log_scores(pictures(50)))
    assert torch.equal(whole[7:9], model.log_scores(pictures(50)[7:9]))
    assert torch.equal(whole.flip(0), model.log_scores(pictures(50).flip(0)))


def test_known_noise() -> None:
    """Frozen: a change of the hash would change every stored row."""
    u = uniform_of(torch.tensor([[-0.0, -1.0, -torch.inf]]))
    assert torch.equal(u, uniform_of(torch.tensor([[0.0, -1.0, -torch.inf]])))
    torch.testing.assert_close(u, expected(u), atol=0, rtol=0)


def expected(u: torch.Tensor) -> torch.Tensor:
    """The same in Python's integers."""
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15

    def mixed(word: int) -> int:
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        return word ^ (word >> 31)

    bits = torch.tensor([0.0, -1.0, -torch.inf]).view(torch.int32).tolist()
    places = [(k + 1) * golden & mask for k in range(3)]
    row = mixed(sum(mixed((b + p) & mask) for b, p in zip(bits, places, strict=True)) & mask)
    draws = [mixed((row + p) & mask) >> 40 for p in places]
    return torch.tensor([[(d + 0.5) / 2**24 for d in draws]], dtype=u.dtype)


@pytest.mark.parametrize("amplitude", [1e-6, 0.01, 1.0, 100.0])
def test_scores_are_the_models_plus_noise_divided_by_their_sum(amplitude: float) -> None:
    log_y_NK = random_scores(40, 10, 3.0, 1)
    y_NK = UniformlyNoisy(Table(log_y_NK), amplitude).log_scores(pictures(40)).exp().double()
    noisy_NK = log_y_NK.double().exp() + amplitude * uniform_of(log_y_NK)
    torch.testing.assert_close(y_NK, noisy_NK / noisy_NK.sum(1, keepdim=True), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(y_NK.sum(1), torch.ones(40).double(), atol=1e-5, rtol=0)


def test_a_score_of_zero_becomes_finite() -> None:
    log_y_NK = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    assert bool(UniformlyNoisy(Table(log_y_NK), 0.01).log_scores(pictures(1)).isfinite().all())


def test_a_larger_amplitude_changes_more_labels() -> None:
    log_y_NK = random_scores(400, 10, 3.0, 1)
    kept = [
        float(
            (UniformlyNoisy(Table(log_y_NK), a).log_scores(pictures(400)).argmax(1))
            .eq(log_y_NK.argmax(1))
            .float()
            .mean()
        )
        for a in (1e-3, 0.3, 100.0)
    ]
    assert kept[0] > kept[1] > kept[2]
    assert kept[2] < 0.2, "of ten classes, noise alone hits one in ten"


def test_without_amplitude_it_is_the_model_itself() -> None:
    log_y_NK = random_scores(4, 10, 3.0, 1)
    assert UniformNoise(UniformNoiseSettings(amplitude=0.0)).idle()
    assert torch.equal(UniformlyNoisy(Table(log_y_NK), 0).log_scores(pictures(4)), log_y_NK)
