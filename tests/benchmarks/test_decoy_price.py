"""What `benchmarks.decoy_price` counts."""

from __future__ import annotations

import torch
from benchmarks.decoy_price import first_pictures, hits

from inversionlab.data.labelled import Labelled


def test_a_picture_may_fall_to_the_decoy_of_another_label() -> None:
    people = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    pictures, class_N = torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 0])
    none = torch.zeros(0, 2)
    assert hits(pictures, class_N, people, none) == 2
    # Decoy 0 is of label 0 and far from both; decoy 1 of label 1 is nearer to the second picture than person 0 is.
    decoys = torch.tensor([[-1.0, 0.0], [0.7, 0.7]])
    assert hits(pictures, class_N, people, decoys) == 1


def test_a_centre_is_the_mean_of_a_persons_first_pictures() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    kept = first_pictures(Labelled(images, torch.tensor([1, 0, 1, 1, 0, 1])), count=2)
    assert kept.images_NCHW.flatten().tolist() == [1, 4, 0, 2]
    assert kept.class_N.tolist() == [0, 0, 1, 1]
