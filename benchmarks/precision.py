"""What running networks folded, channels-last and in bfloat16 saves, on networks of the LFW recipe's size.

    python -m benchmarks.precision [--rows 2 16 64] [--rounds 11] [--device cpu] [--ir50]
    python -m benchmarks.precision --training [--rounds 5]      # steps of training in bf16 against those in fp32

A pass is a forward pass and the gradient of its input, with untrained weights. The ways take turns, and each line
gives the median CPU time of a row as the stored network computes it (on a GPU: wall time), and the ratios of the
medians: how many times faster the compiled network is, in fp32 and in bf16.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.arena import seconds
from inversionlab import generators
from inversionlab.core.learner import Learner, Precision
from inversionlab.defenses.base import Undefended
from inversionlab.generators import GENERATORS, Generator
from inversionlab.pipeline.batch_invariant import BatchInvariantModel, BatchInvariantPrior
from inversionlab.pipeline.compiled import compiled
from inversionlab.pipeline.train import frozen
from inversionlab.recognizers import Recognizer, RecognizerLearner, RecognizerSettings

CLASSES = 158
LFW: dict[str, dict[str, Any]] = {
    "vae": {"latent_size": 64, "width": 12},
    "wgan_gp": {},
    "ked_gan": {},
    "style_gan": {},
}
"""The generators of `jobs/recipes/lfw_attacks.yaml`."""
WAYS: dict[str, Precision] = {"fp32": "fp32", "bf16": "bf16"}
Pass = Callable[[Any], Tensor]
BATCH = 32
STEPS = 8
"""Steps of training that are timed together: some networks do more in one step than in the next."""


def cases(device: torch.device, ir50: bool) -> Iterator[tuple[str, Sequence[int], dict[str, Pass]]]:
    """Name, shape of a row, and the ways to compute it, of each network."""
    recognizers: dict[str, tuple[dict[str, Any], int]] = {
        "small_resnet": ({"name": "small_resnet", "width": 32}, 64)
    }
    if ir50:
        recognizers["ir50 at 112"] = ({"name": "ir50"}, 112)
    for title, (network, side) in recognizers.items():
        settings = RecognizerSettings.model_validate({"network": network})
        victim = Recognizer(settings, classes=CLASSES, channels=3, image_size=side, seed=1)
        frozen(victim, device)
        ways: dict[str, Pass] = {"stored": BatchInvariantModel(Undefended(victim)).log_scores}
        for way, precision in WAYS.items():
            ways[way] = BatchInvariantModel(Undefended(compiled(victim, precision))).log_scores
        yield title, (3, side, side), ways
    for name, options in LFW.items():
        sized = GENERATORS[name].Settings(name=name, **options)
        made = generators.build(sized, channels=3, image_size=64, classes=CLASSES)
        frozen(made, device)
        ways = {"stored": BatchInvariantPrior(made).__call__}
        for way, precision in WAYS.items():
            prior = BatchInvariantPrior(cast(Generator, compiled(made, precision)), precision)
            ways[way] = prior.__call__
        yield name, (made.latent_size,), ways


def measure(forward: Pass, x_N: Tensor) -> Callable[[], None]:
    """A forward pass and the gradient of its input."""

    def run() -> None:
        point_N = x_N.clone().requires_grad_(True)
        torch.autograd.grad(forward(point_N).square().sum(), point_N)

    return run


def learners() -> Iterator[tuple[str, Learner]]:
    """The networks of that recipe in training."""
    settings = RecognizerSettings.model_validate({"network": {"name": "small_resnet", "width": 32}})
    yield (
        "small_resnet",
        RecognizerLearner(settings, classes=CLASSES, channels=3, image_size=64, seed=1),
    )
    for name, options in LFW.items():
        sized = GENERATORS[name].Settings(name=name, **options)
        yield (
            name,
            generators.learner(sized, channels=3, image_size=64, seed=1, classes=CLASSES),
        )


def measure_training(rounds: int, device: torch.device) -> None:
    """Time training on 32 pictures, in fp32 and bf16 in turns, and print the ratios of the medians."""
    for title, learner in learners():
        for module in learner.modules.values():
            module.to(device).train()
        spent: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds + 1):
            for way, precision in WAYS.items():
                learner.precision = precision
                spent[way].append(seconds(steps(learner, device), device) / STEPS / BATCH)
        median = {way: statistics.median(times[1:]) for way, times in spent.items()}
        ratio = median["fp32"] / median["bf16"]
        each = 1000 * median["fp32"]
        print(
            f"{title:14} training  fp32 {each:6.2f} ms a picture  bf16 ratio {ratio:.2f}",
            flush=True,
        )


def steps(learner: Learner, device: torch.device) -> Callable[[], None]:
    """Some steps of a training; the pictures are noise."""
    rng = torch.Generator().manual_seed(0)
    x_NCHW = torch.rand(BATCH, 3, 64, 64, generator=rng).to(device)
    y_N = torch.arange(BATCH) % CLASSES
    if getattr(learner.product(), "learns_from_target", False):
        y_N = torch.rand(BATCH, CLASSES, generator=rng).softmax(dim=1)
    y_N = y_N.to(device)

    def run() -> None:
        for _ in range(STEPS):
            learner.step(x_NCHW, y_N, rng, lambda parameters: None)

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ir50", action="store_true", help="IR-50 at 112 x 112 too")
    parser.add_argument("--training", action="store_true", help="steps of training instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    if options.training:
        measure_training(options.rounds, device)
        return
    for title, shape, ways in cases(device, options.ir50):
        for rows in options.rows:
            x_N = torch.rand(rows, *shape, generator=torch.Generator().manual_seed(0)).to(device)
            runs = {way: measure(forward, x_N) for way, forward in ways.items()}
            spent: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(options.rounds + 1):
                for way, run in runs.items():
                    spent[way].append(seconds(run, device))
            # The first round makes what later ones reuse.
            median = {way: statistics.median(times[1:]) for way, times in spent.items()}
            ratios = "  ".join(f"{way} ratio {median['stored'] / median[way]:.2f}" for way in WAYS)
            each = 1000 * median["stored"] / rows
            print(f"{title:14} {rows:3} rows  stored {each:7.2f} ms a row  {ratios}", flush=True)


if __name__ == "__main__":
    main()
