"""How much faster do two training workers of one thread train than one, and what does sending gradients cost?

    python -m benchmarks.training_workers [--rounds 15] [--steps 2]
    python -m benchmarks.training_workers --network ir50 --batch 8 --rounds 2 --steps 1

The loop is the platform's, and the workers talk as those of Ray Train do, by gloo, over loopback. Two workers
share each batch. The ways take turns, since other work on the machine slows all of them:

- `one`: a worker alone;
- `silent`: two workers who send nothing, which shows what the machine takes from two at once;
- `two`: the platform's two workers, who send their gradients in one message after the backward pass;
- `during`: two who send them in buckets while the backward pass computes others;
- `DDP`: PyTorch's DistributedDataParallel.

The ratio of wall-clock times means something on two idle cores only. Pictures in a second of the workers' own CPU
time leave out what they wait for each other, and show the rest even on a busy machine.
"""

import argparse
import os
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, distributed, nn

from inversionlab.core.contracts import TrainingJob
from inversionlab.core.learner import GradientSync, Losses, TrainingSettings
from inversionlab.distributed.train_worker import mean_over_workers
from inversionlab.pipeline.train import World, alone, train
from inversionlab.recognizers import RecognizerLearner, RecognizerSettings
from inversionlab.recognizers.augment import augment

CLASSES = 158
CPU = torch.device("cpu")
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "small_resnet": ({"name": "small_resnet", "width": 32}, 64),
    "ir50": ({"name": "ir50"}, 112),
}
"""Settings, and the side of a picture."""
KEYS = ("wall", "cpu", "waited")
WAYS = ("one", "silent", "two", "during", "DDP")


@dataclass(frozen=True)
class Took:
    """A round of one way."""

    wall: float
    cpu: float
    """CPU seconds of both workers."""
    waited: float
    """Seconds after the backward pass until the gradients were averaged, of all steps of a worker."""


class Overlapped:
    """Averages gradients in buckets, each of which is sent as soon as the backward pass has filled it."""

    def __init__(self, bucket: int) -> None:
        """Send about `bucket` numbers at once."""
        self._bucket, self._room = bucket, torch.empty(0)
        self._sent: list[tuple[list[Tensor], Tensor, Any]] = []

    def backward(self, loss: Tensor, weights: Sequence[nn.Parameter]) -> None:
        """Compute all gradients, and begin to send them."""
        size = sum(weight.numel() for weight in weights)
        if len(self._room) < size:
            self._room = torch.empty(size)
        coming, there, begun = self._buckets(weights), set[Tensor](), 0
        bucket = next(coming)

        def filled(weight: Tensor) -> None:
            nonlocal bucket, begun
            there.add(weight)
            # All workers send the buckets in one order.
            while bucket and there.issuperset(bucket):
                gradients = [w.grad for w in bucket if w.grad is not None]
                begin, begun = begun, begun + sum(gradient.numel() for gradient in gradients)
                message = self._room[begin:begun]
                torch.cat([gradient.flatten() for gradient in gradients], out=message)
                work = distributed.all_reduce(message, async_op=True)
                self._sent.append((gradients, message, work))
                bucket = next(coming, [])

        hooks = [weight.register_post_accumulate_grad_hook(filled) for weight in weights]
        loss.backward()
        for hook in hooks:
            hook.remove()
        assert not bucket, "a weight without a gradient"

    def _buckets(self, weights: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
        """The weights, the last ones first, as a backward pass meets them."""
        bucket: list[nn.Parameter] = []
        for weight in reversed(weights):
            bucket.append(weight)
            if sum(w.numel() for w in bucket) >= self._bucket:
                yield bucket
                bucket = []
        if bucket:
            yield bucket

    def finish(self) -> None:
        """Wait for all that was sent."""
        for gradients, message, work in self._sent:
            work.wait()
            parts = message.div_(2).split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        self._sent.clear()


class Whole(nn.Module):
    """A recognizer with its loss: DDP wraps one forward pass."""

    def __init__(self, learner: RecognizerLearner) -> None:
        super().__init__()
        self.recognizer, self._loss = learner.recognizer, learner.loss

    def forward(self, x_NCHW: Tensor, y_N: Tensor) -> Tensor:
        """The mean loss."""
        return self._loss(self.recognizer.head, self.recognizer.features(x_NCHW), y_N)


class Measured(RecognizerLearner):
    """A recognizer in training that may send its gradients in other ways than the platform's."""

    overlapped: Overlapped | None = None
    whole: nn.Module | None = None
    """What DDP has wrapped."""
    waited: float = 0.0

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """See `Learner.step`."""
        if self.whole is None:
            return super().step(x_NCHW, y_N, rng, sync)
        loss = self.whole(augment(x_NCHW, self.settings.augment, rng), y_N)
        self.descend("recognizer", loss, lambda weights: None)
        return {"loss": loss.detach()}

    def descend(self, name: str, loss: Tensor, sync: GradientSync) -> None:
        """See `Learner.descend`."""
        optimizer = self.optimizers[name]
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        optimizer.zero_grad(set_to_none=True)
        if self.overlapped is None:
            loss.backward()
        else:
            self.overlapped.backward(loss, weights)
        began = time.perf_counter()
        if self.overlapped is None:
            sync(weights)
        else:
            self.overlapped.finish()
        self.waited += time.perf_counter() - began
        optimizer.step()


class NoCheckpoints:
    """Keeps nothing."""

    def load(self) -> None:
        """There is none."""

    def save(self, state: dict[str, Any]) -> None:
        """Forget it."""


def worker(rank: int, orders: Connection, port: int, given: argparse.Namespace) -> None:
    """Train as often as it is asked to."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    network, side = NETWORKS[given.network]
    settings = RecognizerSettings.model_validate({"network": network})
    own, wrapped = (
        Measured(settings, classes=CLASSES, channels=3, image_size=side, seed=1) for _ in range(2)
    )
    wrapped.whole = nn.parallel.DistributedDataParallel(Whole(wrapped))
    overlapped, together = (
        Overlapped(given.bucket * 2**18),
        World(rank, 2, CPU, mean_over_workers),
    )
    while (order := orders.recv()) is not None:
        way, steps = order
        learner = wrapped if way == "DDP" else own
        learner.overlapped = overlapped if way == "during" else None
        learner.waited = 0.0
        world = alone(CPU) if way in ("one", "silent") else together
        size = given.batch // 2 if way == "silent" else given.batch
        images_NCHW = torch.randint(0, 256, (steps * size, 3, side, side), dtype=torch.uint8)
        class_N = torch.arange(len(images_NCHW)) % CLASSES
        training = TrainingSettings(epochs=1, batch_size=size)
        if way != "one":
            distributed.barrier()
        began, used = time.perf_counter(), time.process_time()
        train(
            TrainingJob(learner, images_NCHW, class_N, training),
            role=way,
            seed=1,
            world=world,
            checkpoints=NoCheckpoints(),
            report=lambda progress: None,
        )
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        orders.send(Took(wall, cpu, learner.waited))
    distributed.destroy_process_group()


def measure(given: argparse.Namespace) -> dict[str, list[Took]]:
    """All rounds of each way."""
    spawn = get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [spawn.Pipe() for _ in range(2)]
    processes = [
        spawn.Process(target=worker, args=(rank, theirs, port, given), daemon=True)
        for rank, (_, theirs) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    found: dict[str, list[Took]] = {way: [] for way in WAYS}
    for number in range(given.rounds + 1):
        for way in WAYS:
            asked = [mine for mine, _ in pipes[: 1 if way == "one" else 2]]
            for mine in asked:
                mine.send((way, given.steps))
            answers: list[Took] = [mine.recv() for mine in asked]
            if number:  # the first round warms up
                waited = statistics.mean(took.waited for took in answers)
                wall = max(took.wall for took in answers)
                found[way].append(Took(wall, sum(took.cpu for took in answers), waited))
    for mine, _ in pipes:
        mine.send(None)
    for process in processes:
        process.join()
    return found


def main() -> None:
    """Measure, and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", choices=sorted(NETWORKS), default="small_resnet")
    parser.add_argument("--batch", type=int, default=64, help="pictures in a step of all workers")
    parser.add_argument("--steps", type=int, default=2, help="steps in a round of one way")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bucket", type=int, default=25, help="MiB, as in DDP")
    given = parser.parse_args()
    found = measure(given)
    median = {
        way: Took(*(statistics.median(getattr(took, key) for took in rounds) for key in KEYS))
        for way, rounds in found.items()
    }
    one = median["one"]
    for way, took in median.items():
        each = 1000 / (given.steps * given.batch)
        print(
            f"{way:7} {took.wall * each:9.3f} ms a picture, CPU {took.cpu * each:9.3f}; "
            f"{1000 * took.waited / given.steps:6.1f} ms a step for gradients; against one: "
            f"{one.wall / took.wall:.2f} x pictures a second, {one.cpu / took.cpu:.2f} x pictures a CPU-second; "
            f"{took.cpu / took.wall:.2f} cores"
        )
    print(
        f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores; 1.8 x is wanted of `two` on two idle ones"
    )


if __name__ == "__main__":
    main()
