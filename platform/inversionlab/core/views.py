"""What an attacker may see of the model under attack, as a type.

An attack is handed a view, never the model. Each view counts, row by row of the attack's batch, every
picture that goes through the model, where it goes through:

- `WhiteBox`: scores with gradients (the model's structure and weights are known);
- `Scores`: the score vector, whole or its `top` largest entries, and no gradient;
- `Labels`: the number of the winning class.

A wrapped defense is inside the view: what is differentiated, or returned, is the *protected* model's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inversionlab.core.contracts import ScoringModel


class View:
    """Base of the views: holds the ledger of queries, one entry a row of the attack's batch."""

    def __init__(self, model: ScoringModel, rows: int) -> None:
        """Open a view on `model` for an attack on `rows` reconstructions at once."""
        self.classes = model.classes
        self.queries = torch.zeros(rows, dtype=torch.int64)
        # A closure, not an attribute: a view must not lead back to the model.
        self._ask = model.log_scores

    def _count(self, x_NCHW: Tensor, account_N: Tensor) -> None:
        if account_N.shape != x_NCHW.shape[:1]:
            raise ValueError(
                f"{len(x_NCHW)} pictures were sent on the account of {len(account_N)} rows; "
                "name one row for each picture"
            )
        account = account_N.to("cpu")
        self.queries.index_add_(0, account, torch.ones_like(account))


class WhiteBox(View):
    """Scores that gradients flow through; one query is a forward and its backward pass."""

    def log_scores(self, x_NCHW: Tensor, account_N: Tensor) -> Tensor:
        """Differentiable log-probabilities (N, K); `account_N` says which row each picture is for."""
        self._count(x_NCHW, account_N)
        return self._ask(x_NCHW)


class Scores(View):
    """The score vector without gradients, cut to its largest entries where `top` is given."""

    def __init__(self, model: ScoringModel, rows: int, top: int | None = None) -> None:
        """Open a view that shows the `top` largest scores (all of them where None)."""
        super().__init__(model, rows)
        self.top = top
        self.observed_NK: Tensor | None = None
        """What the model answered to its users' private pictures, one a row; None: nothing was overheard."""

    def observe_outputs(self, x_NCHW: Tensor) -> None:
        """Let the attacker see the answers to private pictures (N, C, H, W), one a row, not the pictures."""
        self.observed_NK = self.scores(x_NCHW, torch.arange(len(x_NCHW)))

    @torch.no_grad()
    def scores(self, x_NCHW: Tensor, account_N: Tensor) -> Tensor:
        """Probabilities (N, K), detached; entries that are not among the `top` largest are 0."""
        self._count(x_NCHW, account_N)
        p_NK = self._ask(x_NCHW.detach()).exp()
        if self.top is None:
            return p_NK
        value, index = p_NK.topk(min(self.top, self.classes), dim=1)
        return torch.zeros_like(p_NK).scatter_(1, index, value)


class Labels(View):
    """The winning class only."""

    @torch.no_grad()
    def labels(self, x_NCHW: Tensor, account_N: Tensor) -> Tensor:
        """Class numbers (N,); -1 where the model's scores are not numbers."""
        self._count(x_NCHW, account_N)
        log_y_NK = self._ask(x_NCHW.detach())
        return torch.where(log_y_NK.isnan().any(1), -1, log_y_NK.argmax(1))
