from __future__ import annotations

import torch

from inversionlab.core import seeds


def test_same_labels_same_stream() -> None:
    first = torch.rand(3, generator=seeds.torch_stream(1, "attack", "a", 4, 2))
    second = torch.rand(3, generator=seeds.torch_stream(1, "attack", "a", 4, 2))
    assert torch.equal(first, second)


def test_every_label_matters_and_so_does_its_kind_and_border() -> None:
    made = [
        seeds.derive(1, "a", 1),
        seeds.derive(2, "a", 1),
        seeds.derive(1, "b", 1),
        seeds.derive(1, "a", 2),
        seeds.derive(1, "a", "1"),
        seeds.derive(1, "a1"),
        seeds.derive(1, 1, "a"),
    ]
    assert len(set(made)) == len(made)
    assert all(0 <= m < 2**63 for m in made)


def test_derived_seed_never_changes_between_releases() -> None:
    """Stored rows name their seed; a release that derived other streams would not reproduce them."""
    assert seeds.derive(0, "attack", "latent_white_box", 3, 1) == 4146129780424575187
