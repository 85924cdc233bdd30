"""Stage 4: what the judges say of the final pictures, and how well the models recognize. No Ray in here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inversionlab.data.splits import Labelled
from inversionlab.metrics import nearest_distance
from inversionlab.pictures import to_float
from inversionlab.recognizers import Recognizer

CHUNK = 256
"""Pictures a forward pass, so that memory stays small."""


@dataclass(frozen=True)
class Judge:
    """An evaluator and what it knows of the targets."""

    name: str
    recognizer: Recognizer
    class_of: Mapping[int, int]
    """Its class number of each target."""
    private: Mapping[int, Tensor]
    """Features (n, D) of each target's private training pictures, on the CPU."""


@torch.no_grad()
def features(recognizer: Recognizer, images_NCHW: Tensor, device: torch.device) -> Tensor:
    """Feature vectors (N, D), float32 on the CPU, of uint8 pictures."""
    parts = [
        recognizer.features(to_float(x, device)).float().cpu() for x in images_NCHW.split(CHUNK)
    ]
    return torch.cat(parts)


@torch.no_grad()
def verdicts(
    judges: Sequence[Judge], images_NCHW: Tensor, targets: Sequence[int], device: torch.device
) -> list[list[dict[str, Any]]]:
    """What every judge says of every picture: one list of verdicts a picture.

    Args:
        judges: the evaluators.
        images_NCHW: uint8 reconstructions, as they are stored.
        targets: the target of each.
        device: where the judges live.
    """
    result: list[list[dict[str, Any]]] = [[] for _ in targets]
    for judge in judges:
        classes = torch.tensor([judge.class_of[t] for t in targets])
        feature_ND = features(judge.recognizer, images_NCHW, device)
        logit_NK = judge.recognizer.head(feature_ND.to(device)).float().cpu()
        score_NK = logit_NK.softmax(1)
        own_N1 = logit_NK.gather(1, classes[:, None])
        rank_N = (logit_NK > own_N1).sum(1) + 1
        for row, target in enumerate(targets):
            own_MD = judge.private[target].numpy()
            nearest = nearest_distance(feature_ND[row : row + 1].numpy(), own_MD)[0]
            result[row].append(
                {
                    "evaluator": judge.name,
                    "rank": int(rank_N[row]),
                    "score": float(score_NK[row, classes[row]]),
                    "nearest": float(nearest),
                    "feature": feature_ND[row].tolist(),
                }
            )
    return result


@torch.no_grad()
def recognition(
    log_scores: Callable[[Tensor], Tensor], test: Labelled, device: torch.device
) -> Tensor:
    """Ask a model for every test picture: bool (N,), whether its class has the highest score."""
    winners = [
        log_scores(to_float(x, device)).argmax(1).cpu() for x in test.images_NCHW.split(CHUNK)
    ]
    return torch.cat(winners) == test.class_N


@torch.no_grad()
def milliseconds(
    log_scores: Callable[[Tensor], Tensor], test: Labelled, device: torch.device, rounds: int = 5
) -> float:
    """Inference time a picture, in batches of up to 64: the median of some rounds after a first one."""
    x_NCHW = to_float(test.images_NCHW[:64], device)
    spent = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        log_scores(x_NCHW).cpu()
        spent.append(time.perf_counter() - began)
    return 1000 * statistics.median(spent[1:]) / len(x_NCHW)
