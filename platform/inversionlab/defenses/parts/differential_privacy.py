"""Differential privacy for `dp_sgd`: its budget, clipped and noised gradients, and networks that fit it.

The single step that touches private data is Abadi et al. 2016, algorithm 1, with Opacus' conventions. A sample's
gradient over all weights together has norm n and is multiplied by min(1, C / (n + 1e-6)). Gaussian noise of
standard deviation sigma C is added to every number of the sum over the batch. The result is divided by the
expected batch size, not by the size of the batch drawn.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional

from inversionlab.core.contracts import as_scoring_model
from inversionlab.defenses.base import ProtectedModel

_MOST_POINTS = 5_000_000
"""Points at which prv may keep the distribution of the privacy loss: some 10 s and 2 GB, twenty times over."""
_TOO_LONG = "the accountant would need many minutes"

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


@dataclass(frozen=True)
class Budget:
    """How much noise a training adds, and what a step costs."""

    noise_multiplier: float
    """sigma: the noise's standard deviation in units of the clipping norm."""
    expected: int
    """B, the expected batch size."""
    rate: float
    """q, the probability with which a picture is drawn into a step."""
    delta: float
    accountant: str
    """Opacus' name of the accountant: rdp or prv."""

    @classmethod
    def plan(
        cls,
        *,
        epsilon: float,
        delta: float | None,
        batch_size: int,
        count: int,
        epochs: int,
        accountant: str,
    ) -> Self:
        """The least noise with which `epochs` passes over `count` pictures stay within (epsilon, delta).

        ValueError if no noise does, delta is not below 1 / `count`, or the accountant would count for minutes.
        """
        if delta is not None and delta >= 1 / count:
            raise ValueError(
                f"delta = {delta:g}: a guarantee that may fail for one of {count} pictures is not a guarantee; "
                f"give less than {1 / count:.2g}"
            )
        delta = delta or min(1e-5, 1 / (10 * count))
        expected = min(batch_size, count)
        # Importing Opacus takes as long as importing torch; only trainings that use it pay.
        from opacus.accountants.utils import get_noise_multiplier

        steps = max(1, epochs * (count // expected))
        try:
            noise = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=expected / count,
                steps=steps,
                accountant=_bounded(accountant),
            )
        except ValueError as error:
            if accountant == "prv" and _TOO_LONG in str(error):
                raise ValueError(
                    f"accountant = prv: {_TOO_LONG} for epsilon = {epsilon:g} over {steps} steps; set "
                    "accountant = rdp, or lower epsilon"
                ) from error
            raise ValueError(
                f"no noise keeps epsilon = {epsilon:g} at delta = {delta:g} for {steps} steps: {error}"
            ) from error
        return cls(float(noise), expected, expected / count, delta, accountant)

    def spent(self, steps: int) -> float:
        """The epsilon that `steps` steps spend."""
        if steps == 0:
            return 0.0
        from opacus.accountants import create_accountant

        ledger = create_accountant(mechanism=self.accountant)
        ledger.history = [(self.noise_multiplier, self.rate, steps)]
        return float(ledger.get_epsilon(delta=self.delta))


def _bounded(accountant: str) -> str:
    """Opacus' name of this accountant; for prv, of one that refuses to count for minutes."""
    if accountant != "prv":
        return accountant
    from opacus.accountants import PRVAccountant
    from opacus.accountants.registry import register_accountant

    class BoundedPRV(PRVAccountant):  # type: ignore[misc]  # Opacus has no types here.
        """Opacus' PRV accountant, which refuses a domain of more than `_MOST_POINTS`."""

        def _get_domain(self, **of: Any) -> Any:
            domain = super()._get_domain(**of)
            if domain.size > _MOST_POINTS:
                raise ValueError(_TOO_LONG)
            return domain

    register_accountant("bounded_prv", BoundedPRV, force=True)
    return "bounded_prv"


def clipped_sum(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    x_N: Tensor,
    y_N: Tensor,
    clip: float,
) -> tuple[dict[str, Tensor], Tensor]:
    """The sum over the batch of each sample's clipped gradient of the softmax cross-entropy.

    Args:
        network: inputs (N, ...) to logits (N, K); must treat rows separately (no batch statistics).
        weights: its trained parameters by their names in it, detached.
        x_N: its inputs (N, ...), at least one; all their gradients are held at once.
        y_N: class numbers (N,).
        clip: C, the largest norm of a sample's gradient.

    Returns:
        the sums by name, each of its weight's shape, and the sum of the samples' losses.
    """

    def loss(weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logit_1K = functional_call(network, dict(weights), (x[None],))
        return functional.cross_entropy(logit_1K, y[None])

    # "different": every sample has a dropout mask of its own.
    each = vmap(grad_and_value(loss), in_dims=(None, 0, 0), randomness="different")
    gradients, loss_N = each(weights, x_N, y_N)
    factor_N = clip_factors(gradients, clip)
    sums = {name: torch.einsum("n,n...->...", factor_N, g) for name, g in gradients.items()}
    return sums, loss_N.sum()


def clip_factors(gradients: Mapping[str, Tensor], clip: float) -> Tensor:
    """The factor (N,) in [0, 1] of each sample's gradient, from gradients (N, ...) by name."""
    norms = [gradient.flatten(1).norm(dim=1) for gradient in gradients.values()]
    factor_N: Tensor = (clip / (torch.stack(norms).norm(dim=0) + 1e-6)).clamp(max=1)
    return factor_N


def noised_mean(
    sums: Mapping[str, Tensor], deviation: float, expected: int, rng: torch.Generator
) -> dict[str, Tensor]:
    """`(sums + N(0, deviation^2 I)) / expected`, with noise drawn on the CPU from `rng` in the mapping's order."""
    return {
        name: (total + deviation * torch.randn(total.shape, generator=rng).to(total.device))
        / expected
        for name, total in sums.items()
    }


class PrivateRecognizer(ProtectedModel):
    """A recognizer, with figures of how private its weights are."""

    def __init__(self, recognizer: nn.Module, classes: int) -> None:
        super().__init__()
        self.victim: Any = recognizer
        self.classes = classes
        self.epsilon: Tensor
        self.delta: Tensor
        self.noise_multiplier: Tensor
        for name in ("epsilon", "delta", "noise_multiplier"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """The recognizer's log-probabilities (N, K)."""
        return as_scoring_model(self.victim).log_scores(x_NCHW)

    def facts(self) -> dict[str, float]:
        """The (epsilon, delta) that training spent, and sigma."""
        return {name: float(buffer) for name, buffer in self.named_buffers(recurse=False)}


class RowNorm(nn.GroupNorm):
    """Group normalisation that also accepts a single vector, which PyTorch's own refuses."""

    def forward(self, x_NC: Tensor) -> Tensor:
        """Rows (N, C, ...), each normalised by its own statistics."""
        return torch.group_norm(x_NC, self.num_groups, self.weight, self.bias, self.eps)


def without_batch_norm(network: nn.Module) -> None:
    """Replace every batch normalisation, which mixes the rows of a batch, by group normalisation, in place.

    Maps get 32 groups, or as many as divide their channels (as in Opacus). Vectors get one group: groups of one or
    a few numbers would leave little of a vector.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BatchNorm):
                flat = isinstance(child, nn.BatchNorm1d)
                groups = 1 if flat else math.gcd(32, child.num_features)
                setattr(parent, name, RowNorm(groups, child.num_features, affine=child.affine))
