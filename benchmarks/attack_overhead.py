"""How much of an attack's time is not the networks' own passes?

    python benchmarks/attack_overhead.py [--device cuda]

Each attack runs on untrained networks of the LFW recipe's size. The batch size of every pass is noted, and
a bare loop then makes the same passes and nothing else: encode the start, forward and backward, decode the
end. Attack and bare loop take
turns, since other work on the machine slows both alike; what counts is the median of the ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from inversionlab import generators
from inversionlab.attacks import ATTACKS, Attack, Knowledge
from inversionlab.defenses.dummy_recognizer import Mixture
from inversionlab.generators import Generator
from inversionlab.generators.vae import Vae
from inversionlab.recognizers import Recognizer, RecognizerSettings
from inversionlab.stages.attack import arm, run_attack
from inversionlab.stages.training import frozen

CLASSES, SIZE, ROWS, STEPS = 158, 64, 20, 50
WORK = [(row, 0) for row in range(ROWS)]


class Noting(Mixture):
    """A protected model that notes the batch size of every pass."""

    def __init__(self, victim: Recognizer, dummy: Recognizer) -> None:
        super().__init__(victim, dummy, 0.5)
        self.sizes: list[int] = []

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-scores; notes the batch size."""
        self.sizes.append(len(x_NCHW))
        return super().log_scores(x_NCHW)


def build(device: torch.device) -> tuple[Noting, Generator]:
    """A mixture of two recognizers, and a VAE, at the size of the LFW recipe."""
    parts = [
        Recognizer(RecognizerSettings(), classes=CLASSES, channels=3, image_size=SIZE, seed=s)
        for s in (0, 1)
    ]
    generator = generators.build(
        Vae.Settings(latent_size=64, width=12), channels=3, image_size=SIZE
    )
    model = Noting(parts[0], parts[1])
    frozen(model, device)
    frozen(generator, device)
    return model, generator


def bare_loop(
    model: Noting, generator: Generator | None, sizes: list[int], device: torch.device
) -> None:
    """The passes alone, at the batch sizes of the attack."""
    shape = (ROWS, generator.latent_size) if generator is not None else (ROWS, 3, SIZE, SIZE)
    start = torch.rand(shape, device=device)
    if generator is not None:
        with torch.no_grad():
            generator.encode(torch.rand(16 * ROWS, 3, SIZE, SIZE, device=device))
            generator(start)
    for size in sizes:
        point = start[:size].detach().requires_grad_(True)
        x_NCHW = generator(point) if generator is not None else point
        loss = model.log_scores(x_NCHW)[:, 0].sum()
        torch.autograd.grad(loss, point)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def measure(attack: Attack, model: Noting, device: torch.device, rounds: int) -> float:
    """The median share of the attack's time that is not passes."""
    know = attack.knowledge
    generator = know.generator if attack.needs_generator else None
    assert generator is None or isinstance(generator, Generator)
    model.sizes.clear()
    run_attack(attack, model, WORK)
    sizes = list(model.sizes)
    bare_loop(model, generator, sizes, device)
    shares = []
    for _ in range(rounds):
        whole = timed(lambda: run_attack(attack, model, WORK), device)
        bare = timed(lambda: bare_loop(model, generator, sizes, device), device)
        shares.append(1 - bare / whole)
    return statistics.median(shares)


def main() -> None:
    """Measure every attack that asks the model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=7, help="turns of attack and bare loop")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    model, generator = build(device)
    public = torch.randint(0, 256, (512, 3, SIZE, SIZE), dtype=torch.uint8)
    know = Knowledge(generator=generator, public_NCHW=public, seed=0, device=device)
    print(f"{ROWS} reconstructions, {STEPS} updates each, {SIZE} x {SIZE}, {given.device}")
    for name, kind in ATTACKS.items():
        if kind.view is not None:
            attack = arm(kind.Settings.model_validate({"name": name, "steps": STEPS}), know)
            share = measure(attack, model, device, given.rounds)
            print(f"{name}: {share:.1%} of its time is not passes (at most 10 % is wanted)")


if __name__ == "__main__":
    main()
