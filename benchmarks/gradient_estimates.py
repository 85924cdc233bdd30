"""How good gradients estimated from scores are (Yoshimura et al. 2021, Fig. 7): criterion C against the cosine.

    python -m benchmarks.gradient_estimates                     # networks of made-up faces, trained in a minute
    python -m benchmarks.gradient_estimates --recipe jobs/recipes/lfw.yaml --storage DIR --set data.root=...

The points are those that white-box descents (A2) of some targets pass. At each the gradient is estimated with
every sigma^2. The benchmark prints C and cosine for each sigma^2, and how often the paper's rule holds: C < 0.1
means a cosine above 0.8. `--page` draws the pairs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.arena import Arena, enter, prepare
from inversionlab.papers.drawing import lines_svg
from inversionlab.papers.gradient_estimates import (
    VARIANCES,
    approximation,
    criteria_and_cosines,
)
from inversionlab.papers.measures import HIGH_COSINE, LOW_CRITERION

__all__ = ["approximation", "drawing", "pairs"]


def pairs(arena: Arena, targets: int) -> tuple[Tensor, Tensor]:
    """C and cosine at these points, each (V, N)."""
    chosen = arena.session.plan.targets[:targets]
    return criteria_and_cosines(arena.context("latent_white_box"), arena.model, chosen)


def drawing(criterion_VN: Tensor, cosine_VN: Tensor) -> str:
    """The pairs as an SVG, as on the paper's page: C to the right, the cosine upwards, a colour per sigma^2."""
    series = {
        f"σ² = {variance:g}": list(zip(c_N.tolist(), q_N.tolist(), strict=True))
        for variance, c_N, q_N in zip(VARIANCES, criterion_VN, cosine_VN, strict=True)
    }
    guides = (("x", LOW_CRITERION), ("y", HIGH_COSINE))
    return lines_svg(series, "criterion C; upwards the cosine", joined=False, guides=guides)


def main() -> None:
    """Estimate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--recipe", type=Path, help="a recipe whose networks an audit has stored")
    add("--storage", type=Path, help="where they are")
    add("--set", dest="assignments", action="append", default=[], help="section.key=value")
    add("--targets", type=int, default=10, help="descents")
    add("--page", type=Path, help="an SVG file to draw the pairs to")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        storage = given.storage or Path(folder)
        spec = prepare(given.recipe, given.assignments, storage, ["latent_white_box"])
        criterion_VN, cosine_VN = pairs(enter(spec, torch.device("cpu")), given.targets)
    for variance, c_N, q_N in zip(VARIANCES, criterion_VN, cosine_VN, strict=True):
        print(
            f"sigma^2 {variance:g}: median C {float(c_N.median()):.3f}, cosine {float(q_N.median()):.3f}"
        )
    near = criterion_VN < LOW_CRITERION
    share = float((cosine_VN[near] > HIGH_COSINE).float().mean())
    print(
        f"where C < 0.1 ({int(near.sum())} of {near.numel()} points), {share:.1%} have a cosine above 0.8"
    )
    if given.page is not None:
        given.page.write_text(drawing(criterion_VN, cosine_VN), encoding="utf-8")
        print(given.page)


if __name__ == "__main__":
    main()
