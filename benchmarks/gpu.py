"""What one GPU does: IR-50 at 112 x 112 in training and under attack, as shares of the chip's peak.

    python -m benchmarks.gpu [--device cuda] [--side 112] [--rows 64 256 1024] [--batch 256]

1. The peak: the largest product of bfloat16 matrices, in TFLOP/s, measured in this run.
2. Training: pictures a second of IR-50's steps, as the platform takes them, on pictures that are read from a
   mapped file ahead of each step, and on one batch that stays on the chip. Their difference is the time spent
   waiting for data. The share of the peak counts convolutions and products, forward and backward.
3. An update of an attack: generator, victim and the gradient of the latents, as `latent_white_box` and `mirror`
   make it, on compiled networks in bf16: run kernel by kernel, as replays of a CUDA graph, and by `torch.compile`.

Networks are untrained: only times are measured here. `python -m benchmarks.peers --device cuda` compares success.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.arena import seconds
from inversionlab import generators
from inversionlab.core.images import to_float
from inversionlab.core.rows import Parts, PictureRows, ahead
from inversionlab.defenses.base import Undefended
from inversionlab.generators import GENERATORS, Generator
from inversionlab.pipeline.batch_invariant import BatchInvariantModel, BatchInvariantPrior
from inversionlab.pipeline.compiled import compiled
from inversionlab.pipeline.train import frozen
from inversionlab.recognizers import Recognizer, RecognizerLearner, RecognizerSettings

CLASSES = 1000
PICTURES = 8192
GENERATORS_TRIED: dict[str, dict[str, Any]] = {
    "vae": {"latent_size": 64, "width": 24},
    "style_gan": {"width": 24},
}


def peak(device: torch.device, side: int) -> float:
    """TFLOP/s of a product of two bfloat16 matrices of `side` x `side`."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def products() -> None:
        for _ in range(10):
            torch.mm(a, b)

    spent = [seconds(products, device) for _ in range(4)]
    return 10 * 2 * side**3 / min(spent[1:]) / 1e12


def ir50(side: int) -> RecognizerSettings:
    """IR-50 of full width."""
    return RecognizerSettings.model_validate({"network": {"name": "ir50"}})


def pictures(folder: Path, side: int) -> PictureRows:
    """Noise in mapped files, as prepared pictures lie there."""
    parts, each = 8, PICTURES // 8
    for number in range(parts):
        rng = torch.Generator().manual_seed(number)
        noise = torch.randint(0, 256, (each, 3, side, side), dtype=torch.uint8, generator=rng)
        noise.numpy().tofile(folder / str(number))

    def read(number: int) -> Tensor:
        size = each * 3 * side * side
        mapped = torch.from_file(
            str(folder / str(number)), shared=True, size=size, dtype=torch.uint8
        )
        return mapped.view(each, 3, side, side)

    return PictureRows(Parts([each] * parts, (3, side, side), read))


def train(device: torch.device, side: int, batch: int, steps: int, best: float) -> None:
    """Time steps of training with pictures from files and with a resident batch; print both."""
    learner = RecognizerLearner(ir50(side), classes=CLASSES, channels=3, image_size=side, seed=1)
    learner.precision = "bf16"
    for module in learner.modules.values():
        module.to(device).train()
    rng = torch.Generator().manual_seed(0)
    y_N = torch.randint(0, CLASSES, (PICTURES,), generator=rng)

    def step(x_NCHW: Tensor, y_B: Tensor) -> None:
        learner.step(to_float(x_NCHW, device), y_B.to(device), rng, lambda parameters: None)

    with tempfile.TemporaryDirectory() as folder:
        images = pictures(Path(folder), side)
        order_N = torch.randint(0, PICTURES, (steps * batch,), generator=rng)
        resident = images[order_N[:batch]].to(device)
        with FlopCounterMode(display=False) as counter:
            step(resident, y_N[:batch])
        operations = counter.get_total_flops() / batch

        def on_chip() -> None:
            for _ in range(steps):
                step(resident, y_N[:batch])

        def from_files() -> None:
            for row_B, drawn in ahead(images, order_N.split(batch)):
                step(drawn, y_N[row_B])

        step(resident, y_N[:batch])
        rates = {"resident": list[float](), "files": list[float]()}
        for _ in range(3):
            for way, work in (("resident", on_chip), ("files", from_files)):
                rates[way].append(steps * batch / seconds(work, device))
    resident_rate, files_rate = (statistics.median(rates[way]) for way in ("resident", "files"))
    waiting = max(0.0, 1 - files_rate / resident_rate)
    share = files_rate * operations / 1e12 / best
    print(
        f"train ir50 at {side}, bf16, batches of {batch}: {files_rate:,.0f} pictures a second from files, "
        f"{resident_rate:,.0f} of a resident batch; waiting for data {waiting:.1%}; {operations / 1e9:.1f} GFLOP "
        f"a picture; share of the peak {share:.1%}",
        flush=True,
    )


def updates(device: torch.device, side: int, name: str) -> tuple[Callable[[Tensor], Tensor], int]:
    """The log-score of a target as a function of latents (N, m), and m."""
    settings = ir50(side)
    victim = Recognizer(settings, classes=CLASSES, channels=3, image_size=side, seed=1)
    frozen(victim, device)
    model = BatchInvariantModel(Undefended(compiled(victim, "bf16")))
    sized = GENERATORS[name].Settings(name=name, **GENERATORS_TRIED[name])
    made = generators.build(sized, channels=3, image_size=side, classes=CLASSES)
    frozen(made, device)
    prior = BatchInvariantPrior(cast(Generator, compiled(made, "bf16")), "bf16")
    styles = "style" in made.offers
    decode = prior.synthesize if styles else prior.__call__
    size = (
        made.style(torch.zeros(2, made.latent_size, device=device)).shape[1]
        if styles
        else made.latent_size
    )

    def score(z_ND: Tensor) -> Tensor:
        return model.log_scores(decode(z_ND))[:, 0]

    return score, size


def eager(score: Callable[[Tensor], Tensor], z_ND: Tensor) -> Callable[[], object]:
    """An update, kernel by kernel."""

    def run() -> object:
        point_ND = z_ND.detach().requires_grad_(True)
        return torch.autograd.grad(score(point_ND).sum(), point_ND)

    return run


def graphed(score: Callable[[Tensor], Tensor], z_ND: Tensor) -> Callable[[], object]:
    """An update as a replay of a CUDA graph."""
    static_ND = z_ND.detach().clone().requires_grad_(True)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            torch.autograd.grad(score(static_ND).sum(), static_ND)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch.autograd.grad(score(static_ND).sum(), static_ND)
    return graph.replay


def compile_it(score: Callable[[Tensor], Tensor], z_ND: Tensor) -> Callable[[], object]:
    """An update by `torch.compile`."""
    return eager(cast(Callable[[Tensor], Tensor], torch.compile(score)), z_ND)


WAYS = {"eager": eager, "graph": graphed, "compile": compile_it}


def attack(
    device: torch.device, side: int, name: str, rows: int, ways: list[str], best: float
) -> None:
    """Time an update of `rows` rows by each way, and print it."""
    score, size = updates(device, side, name)
    z_ND = torch.randn(rows, size, generator=torch.Generator().manual_seed(0)).to(device)
    with FlopCounterMode(display=False) as counter:
        # The counter does not follow `autograd.grad`.
        score(z_ND.clone().requires_grad_(True)).sum().backward()
    runs, notes = dict[str, Callable[[], object]](), list[str]()
    for way in ways:
        began = time.perf_counter()
        try:
            runs[way] = WAYS[way](score, z_ND)
            seconds(runs[way], device)
        except Exception as error:
            runs.pop(way, None)
            notes.append(
                f"{way} fails ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
            )
            continue
        notes.append(f"{way} {time.perf_counter() - began:.1f} s")
    spent: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(9):
        for way, run in runs.items():
            spent[way].append(seconds(repeated(run, 4), device) / 4)
    median = {way: statistics.median(times) for way, times in spent.items()}
    shown = ", ".join(f"{way} {1000 * t:.2f} ms" for way, t in median.items())
    rate = counter.get_total_flops() / min(median.values()) / 1e12
    print(
        f"update {name} + ir50 at {side}, {rows} rows: {shown}; {rows / min(median.values()):,.0f} row-updates a "
        f"second; share of the peak {rate / best:.1%} (first call: {', '.join(notes)})",
        flush=True,
    )


def repeated(run: Callable[[], object], times: int) -> Callable[[], object]:
    """A call several times."""

    def all_of_them() -> None:
        for _ in range(times):
            run()

    return all_of_them


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=112, help="of the pictures")
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--batch", type=int, nargs="+", default=[256])
    parser.add_argument("--steps", type=int, default=16, help="of training, timed together")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    parser.add_argument(
        "--product", type=int, default=8192, help="side of the matrices of the peak"
    )
    options = parser.parse_args()
    device = torch.device(options.device)
    best = peak(device, options.product)
    print(
        f"peak, bf16 products of {options.product} x {options.product}: {best:.0f} TFLOP/s",
        flush=True,
    )
    for batch in options.batch:
        train(device, options.side, batch, options.steps, best)
    for name in GENERATORS_TRIED:
        for rows in options.rows:
            attack(device, options.side, name, rows, options.ways, best)


if __name__ == "__main__":
    main()
