"""Stage 3: one attack on one protected model, for some (target, repeat) jobs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inversionlab.attacks import (
    ATTACKS,
    Attack,
    AttackerContext,
    AttackJobs,
    AttackResult,
    AttackSettings,
)
from inversionlab.core.views import Scores, View
from inversionlab.defenses import ProtectedModel
from inversionlab.store.tables import Job


@dataclass(frozen=True)
class Attacked:
    """The result of an attack, and what it cost."""

    result: AttackResult
    queries_N: Tensor
    """Pictures sent to the model for each job."""
    seconds: float
    """Wall-clock time of all jobs together."""
    error_N: Tensor
    """Mean squared error per pixel to the private picture whose score vector was inverted; else NaN."""


def make_attack(settings: AttackSettings, context: AttackerContext) -> Attack:
    """The attack, ready to run."""
    return ATTACKS[settings.name](settings, context)


def run_attack(
    attack: Attack,
    model: ProtectedModel | None,
    work: Sequence[Job],
    private_NCHW: Tensor | None = None,
) -> Attacked:
    """Attack for every (target, repeat) of `work` at once; `model` is None for a null attack.

    An attack that inverts outputs needs `private_NCHW`, a picture of the model's users for each job, in [0, 1].
    The attacker sees only the model's answers to them.
    """
    device = attack.context.device
    jobs = AttackJobs(
        target_N=torch.tensor([t for t, _ in work], device=device),
        repeat_N=torch.tensor([r for _, r in work], device=device),
    )
    view: View | None = None
    if attack.view is not None:
        assert model is not None, "only a null attack needs no model"
        view = attack.open(model, len(work))
    if attack.inverts_outputs:
        assert isinstance(view, Scores), "only score vectors can be inverted"
        assert private_NCHW is not None, "the outputs to invert are answers to private pictures"
        view.observe_outputs(private_NCHW)
    began = time.monotonic()
    result = attack.run(view, jobs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.monotonic() - began
    queries_N = view.queries if view is not None else torch.zeros(len(work), dtype=torch.int64)
    error_N = torch.full((len(work),), torch.nan)
    if attack.inverts_outputs and private_NCHW is not None:
        error_N = (result.images_NCHW - private_NCHW).square().flatten(1).mean(1).cpu()
    return Attacked(result, queries_N, seconds, error_N)
