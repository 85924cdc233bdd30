"""What a model needs, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inversionlab.data.labelled import Labelled
from inversionlab.defenses import ProtectedModel
from inversionlab.pipeline import footprint
from inversionlab.pipeline.batch_invariant import BatchInvariantModel
from tests.toys import CPU

PIXELS, CLASSES, BYTES = 4, 20, 4
"""Of a picture, of the victim; of a number."""


class Linear(ProtectedModel):
    """A layer in the victim's place: 4 pixels to 20 scores, 80 weights and 20 biases."""

    classes = CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(PIXELS, CLASSES)

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return self.layer(x_NCHW.flatten(1))

    def facts(self) -> dict[str, float]:
        return {"epsilon": 8.0, "kept": 1.0}


class Behind(ProtectedModel):
    """A second network behind it that shares a layer with the first; ReLU has no weights and is no network."""

    classes = CLASSES

    def __init__(self, inner: Linear) -> None:
        super().__init__()
        self.inner = inner
        self.shared = inner.layer
        self.own = nn.Sequential(nn.Linear(CLASSES, CLASSES, bias=False), nn.ReLU())
        self.free = nn.ReLU()

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        return self.free(self.own(self.inner.log_scores(x_NCHW)))

    def facts(self) -> dict[str, float]:
        return {"epsilon": 4.0}


@pytest.fixture
def test() -> Labelled:
    count = 2 * footprint.BATCH
    images = torch.randint(0, 256, (count, 1, 2, 2), dtype=torch.uint8)
    return Labelled(images, torch.zeros(count, dtype=torch.int64))


def test_networks_and_numbers_count_once() -> None:
    model = BatchInvariantModel(Behind(Linear()))
    assert footprint.networks(model) == 2
    assert footprint.parameters(model) == 80 + 20 + 400
    assert footprint.networks(BatchInvariantModel(Linear())) == 1


def test_the_outer_part_has_the_last_word() -> None:
    assert footprint.facts(BatchInvariantModel(Behind(Linear()))) == {"epsilon": 4.0, "kept": 1.0}


def test_a_layer_needs_room_for_its_answer(test: Labelled) -> None:
    answer = CLASSES * BYTES
    assert footprint.memory(Linear().log_scores, test, CPU) == answer
    # While the second network runs, its caller holds the first one's answer, and ReLU's is alive with its own.
    assert footprint.memory(Behind(Linear()).log_scores, test, CPU) == 3 * answer
    few = Labelled(test.images_NCHW[:8], test.class_N[:8])
    assert footprint.memory(Linear().log_scores, few, CPU) == answer


def test_views_and_changes_in_place_take_no_room(test: Labelled) -> None:
    def work(x_NCHW: Tensor) -> Tensor:
        twice_ND = 2 * x_NCHW.flatten(1)
        return twice_ND.add_(1).view(-1, PIXELS)[:, :2].T.T

    assert footprint.memory(work, test, CPU) == PIXELS * BYTES


def test_what_is_let_go_makes_room(test: Labelled) -> None:
    def work(x_NCHW: Tensor) -> Tensor:
        for _ in range(10):
            x_NCHW = x_NCHW + 1
        return x_NCHW

    assert footprint.memory(work, test, CPU) == 2 * PIXELS * BYTES


def test_a_gradient_inside_counts(test: Labelled) -> None:
    """A defense that differentiates while it answers keeps what the backward pass needs."""

    def work(x_NCHW: Tensor) -> Tensor:
        with torch.enable_grad():
            x_NCHW = x_NCHW.detach().requires_grad_()
            # Four numbers per picture each: the sigmoid that is kept, and then its gradient.
            (slope,) = torch.autograd.grad(x_NCHW.sigmoid(), x_NCHW, torch.ones_like(x_NCHW))
        return slope

    # At the peak: the sigmoid, the ones and the slope.
    assert footprint.memory(work, test, CPU) == 3 * PIXELS * BYTES


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_layer_on_a_gpu_needs_about_as_much(test: Labelled) -> None:
    model = nn.Linear(PIXELS, 1024).cuda()
    used = footprint.memory(lambda x: model(x.flatten(1)), test, torch.device("cuda"))
    assert 1024 * BYTES <= used < 1024 * BYTES + 2**20
