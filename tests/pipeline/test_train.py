from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inversionlab.core.contracts import TrainingJob
from inversionlab.core.learner import GradientSync, Learner, TrainingSettings
from inversionlab.pipeline.curve import Curve
from inversionlab.pipeline.train import Progress, Trained, TrainingError, World, alone, train
from tests.toys import CPU


class Line(Learner):
    """Learns the mean brightness with momentum and noise, so that all its state matters."""

    def __init__(self, rate: float = 0.05) -> None:
        self.layer = nn.Linear(1, 1)
        self.dropout = nn.Dropout(0.5)
        with torch.no_grad():
            self.layer.weight.fill_(0.3)
            self.layer.bias.fill_(0.1)
        self.modules = {"line": self.layer}
        self.optimizers = {"line": torch.optim.SGD(self.layer.parameters(), lr=rate, momentum=0.9)}
        self.counters = {"steps": 0.0}

    def step(
        self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync
    ) -> dict[str, Tensor]:
        x_N1 = x_NCHW.mean((1, 2, 3))[:, None] + torch.rand(len(x_NCHW), 1, generator=rng)
        loss = (self.layer(self.dropout(x_N1)).squeeze(1) - y_N).square().mean()
        self.optimizers["line"].zero_grad()
        loss.backward()
        sync(self.layer.parameters())
        self.optimizers["line"].step()
        self.counters["steps"] += 1
        return {"loss": loss.detach()}

    def product(self) -> nn.Module:
        return self.layer


class Memory:
    """Checkpoints in memory; may die after some saves, as a killed process does."""

    def __init__(self, die_after: int | None = None) -> None:
        self.state: dict[str, Any] | None = None
        self.left = die_after

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any]) -> None:
        self.state = {
            **state,
            "modules": {
                k: {n: v.clone() for n, v in m.items()} for k, m in state["modules"].items()
            },
        }
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def training_job(learner: Learner, epochs: int = 6, count: int = 10) -> TrainingJob:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, 4, 4), generator=rng, dtype=torch.uint8)
    settings = TrainingSettings(epochs=epochs, batch_size=4)
    return TrainingJob(learner, images, torch.arange(count) % 2, settings)


def run(work: TrainingJob, memory: Memory, report: Any = lambda progress: None) -> Trained:
    return train(
        work,
        role="line",
        seed=3,
        world=alone(CPU),
        checkpoints=memory,
        report=report,
        checkpoint_seconds=0,
    )


def test_a_training_goes_on_to_the_same_weights() -> None:
    undisturbed = Line()
    run(training_job(undisturbed), Memory())
    memory = Memory(die_after=3)
    with pytest.raises(KeyboardInterrupt):
        run(training_job(Line()), memory)
    memory.left = None
    # Another process, or another network trained before, leaves torch's own stream anywhere.
    torch.rand(7)
    resumed = Line()
    result = run(training_job(resumed), memory)
    assert result.metrics["resumed_at"] == 3
    assert resumed.counters["steps"] == undisturbed.counters["steps"] == 12
    assert torch.equal(resumed.layer.weight, undisturbed.layer.weight)


def test_the_losses_of_all_epochs_are_kept_across_an_interruption() -> None:
    whole = run(training_job(Line()), Memory()).curve.points
    assert whole["epoch"] == [1, 2, 3, 4, 5, 6]
    memory = Memory(die_after=3)
    with pytest.raises(KeyboardInterrupt):
        run(training_job(Line()), memory)
    memory.left = None
    assert run(training_job(Line()), memory).curve.points == whole


def test_a_curve_of_a_long_training_stays_short_and_ends_at_the_end() -> None:
    curve = Curve(1234, {})
    for epoch in range(1, 1235):
        curve.add(epoch, {"loss": float(epoch)})
    assert len(curve.points["epoch"]) == 412
    assert curve.points["epoch"][:2] == [3, 6]
    assert curve.points["epoch"][-2:] == curve.points["loss"][-2:] == [1233, 1234]


def test_a_loss_that_is_not_in_every_epoch_leaves_gaps() -> None:
    curve = Curve(3, {})
    for epoch, losses in ((1, {"a": 1.0}), (2, {"a": 2.0, "b": 5.0}), (3, {"b": 6.0})):
        curve.add(epoch, losses)
    assert curve.points == {"epoch": [1, 2, 3], "a": [1, 2, None], "b": [None, 5, 6]}


@pytest.mark.parametrize(
    "kept", [None, 5, {"epoch": [1.0], "loss": []}, {"loss": [1.0]}, {"epoch": ["x"]}]
)
def test_a_checkpoint_without_a_usable_curve_begins_a_new_one(kept: object) -> None:
    assert Curve.resumed({"curve": kept}, 3).points == {}


def interrupted() -> dict[str, Any]:
    memory = Memory(die_after=3)
    with pytest.raises(KeyboardInterrupt):
        run(training_job(Line()), memory)
    assert memory.state is not None
    return memory.state


def changed(state: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    """The state with the value at `path` replaced."""
    state = copy.deepcopy(state)
    inner: Any = state
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return state


SGD = ("optimizers", "line")


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("epoch",), None),
        (("epoch",), -1),
        (("epoch",), float("inf")),
        (("modules",), [1]),
        (("modules",), {"other": {"weight": torch.ones(1, 1)}}),
        (("modules", "line"), {"weight": torch.ones(1, 1)}),
        (("modules", "line", "bias"), torch.ones(2)),
        (("modules", "line", "bias"), "0.1"),
        (("optimizers",), {}),
        (("optimizers",), None),
        (SGD, []),
        ((*SGD, "state"), None),
        ((*SGD, "state", 0), 7),
        ((*SGD, "state", 0, "momentum_buffer"), torch.ones(3)),
        ((*SGD, "state", 9), {}),
        ((*SGD, "param_groups"), []),
        ((*SGD, "param_groups", 0), {"params": [0, 1]}),
        ((*SGD, "param_groups", 0, "params"), [0]),
        ((*SGD, "param_groups", 0, "momentum"), "much"),
        (("counters",), {}),
        (("counters", "steps"), "many"),
    ],
)
def test_a_state_that_is_not_this_networks_changes_nothing(
    path: tuple[Any, ...], wrong: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = Line()
    run(training_job(undisturbed), Memory())
    memory = Memory()
    memory.state = changed({**interrupted(), "file": "a/checkpoint.pt"}, *path, to=wrong)
    anew = Line()
    assert run(training_job(anew), memory).metrics["resumed_at"] == 0
    assert torch.equal(anew.layer.weight, undisturbed.layer.weight)
    said = "a/checkpoint.pt: is damaged (not a state of this network); it starts anew\n"
    assert capsys.readouterr().out == said


def test_an_empty_state_is_not_this_networks(capsys: pytest.CaptureFixture[str]) -> None:
    memory = Memory()
    memory.state = {}
    assert run(training_job(Line()), memory).metrics["resumed_at"] == 0
    assert capsys.readouterr().out.startswith("the checkpoint: is damaged")


def test_no_memory_for_a_checkpoint_is_not_a_damaged_one(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    memory.state = interrupted()

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(nn.Linear, "load_state_dict", full)
    with pytest.raises(torch.OutOfMemoryError):
        run(training_job(Line()), memory)


def test_a_checkpoint_never_stands_for_a_finished_training() -> None:
    memory = Memory()
    run(training_job(Line()), memory)
    assert memory.state is not None
    assert memory.state["epoch"] == 5


def test_infinite_loss_stops_with_the_reason() -> None:
    with pytest.raises(
        TrainingError, match=r"line: its loss became (nan|inf) in epoch .*learning_rate"
    ):
        run(training_job(Line(rate=1e30)), Memory())


def test_too_few_pictures_for_the_workers_is_said() -> None:
    with pytest.raises(TrainingError, match="fewer than 2"):
        run(training_job(Line(), count=1), Memory())


def test_progress_counts_up_and_the_estimate_ends_at_zero() -> None:
    told: list[Progress] = []
    run(training_job(Line()), Memory(), told.append)
    assert [p.epoch for p in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].seconds_left == 0


def weights(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    """Weights whose gradients are random numbers."""
    made = [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in shapes]
    for number, weight in enumerate(made):
        rng = torch.Generator().manual_seed(number)
        weight.grad = torch.randn(weight.shape, generator=rng).to(dtype)
    return made


def in_place(tensor: Tensor) -> Tensor:
    """The mean with a worker whose numbers are all 1, where the tensor was."""
    return tensor.add_(1).div_(2)


def test_each_gradient_becomes_the_mean_of_the_workers() -> None:
    world = World(0, 2, CPU, in_place)
    some = weights((3, 2), (4, 3, 2, 2), (), (5,))
    assert some[1].grad is not None
    # As channels-last convolutions leave it.
    some[1].grad = some[1].grad.to(memory_format=torch.channels_last)
    some[3].grad = None
    expected = [None if w.grad is None else (w.grad + 1) / 2 for w in some]
    world.sync(iter(some))
    for weight, mean in zip(some, expected, strict=True):
        assert (weight.grad is None) == (mean is None)
        assert weight.grad is None or (mean is not None and torch.equal(weight.grad, mean))


def test_what_was_sent_before_leaves_nothing_behind() -> None:
    """Networks of other sizes and types are averaged in turns, as those of a GAN are."""
    world = World(0, 2, CPU, in_place)
    kinds = [((40, 5), torch.float32), ((3,), torch.float32), ((7,), torch.bfloat16)]
    for shape, dtype in [*kinds, *kinds]:
        (one,) = some = weights(shape, dtype=dtype)
        assert one.grad is not None
        mean = (one.grad + 1) / 2
        world.sync(some)
        assert one.grad.dtype == dtype
        assert torch.equal(one.grad, mean)


def test_mixed_types_are_averaged_in_the_finer_one() -> None:
    both = weights((4,)) + weights((4,), dtype=torch.bfloat16)
    means = [((w.grad.float() + 1) / 2).to(w.dtype) for w in both if w.grad is not None]
    World(0, 2, CPU, in_place).sync(both)
    for weight, mean in zip(both, means, strict=True):
        assert weight.grad is not None
        assert torch.equal(weight.grad, mean)


def test_a_worker_alone_asks_nobody() -> None:
    def nobody(tensor: Tensor) -> Tensor:
        raise AssertionError

    (one,) = some = weights((4,))
    assert one.grad is not None
    kept = one.grad.clone()
    World(0, 1, CPU, nobody).sync(some)
    World(0, 2, CPU, nobody).sync([nn.Parameter(torch.zeros(2))])
    assert torch.equal(one.grad, kept)
