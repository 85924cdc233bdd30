"""What an attacker may see of the model under attack, as types.

An attack gets a view, never the model. A view counts every picture that passes through the model, for each row
of the attack's batch:

- `WhiteBox`: scores with gradients; the attacker knows the model's structure and weights;
- `Scores`: the score vector, whole or its `top` largest entries, without gradients;
- `Labels`: the number of the winning class.

Pictures that serve all rows alike, such as starts to choose from, are counted apart.

A wrapped defense is inside the view: scores and gradients are those of the *protected* model.
"""

import copy
from typing import Self

import torch
from torch import Tensor

from inversionlab.core.contracts import ScoringModel


class View:
    """Base of the views; counts the queries of each row of the attack's batch."""

    def __init__(self, model: ScoringModel, rows: int) -> None:
        """Open a view on `model` for an attack that makes `rows` reconstructions at once."""
        self.classes = model.classes
        self.queries = torch.zeros(rows, dtype=torch.int64)
        self.shared_queries = 0
        """Pictures that were sent for all rows together."""
        # Only the bound method: no attribute of a view is the model.
        self._ask = model.log_scores

    def _count(self, x_NCHW: Tensor, account_N: Tensor | None) -> None:
        if account_N is None:
            self.shared_queries += len(x_NCHW)
            return
        if account_N.shape != x_NCHW.shape[:1]:
            raise ValueError(
                f"{len(x_NCHW)} pictures were sent on the account of {len(account_N)} rows; "
                "name one row for each picture"
            )
        account = account_N.to("cpu")
        self.queries.index_add_(0, account, torch.ones_like(account))


class WhiteBox(View):
    """Scores with gradients; one query is a forward pass and its backward pass.

    Whoever holds the weights also sees the identities under each label, where a model has several.
    """

    def __init__(self, model: ScoringModel, rows: int) -> None:
        """Open a view on `model` for an attack that makes `rows` reconstructions at once."""
        super().__init__(model, rows)
        self.centres: int = getattr(model, "centres", 1)
        """C, the identities under each label."""
        self._ask_centres = getattr(model, "centre_log_scores", None)
        self._ask_lengths = getattr(model, "centre_lengths", None)

    def log_scores(self, x_NCHW: Tensor, account_N: Tensor | None = None) -> Tensor:
        """Differentiable log-probabilities (N, K); `account_N` is the row that each picture is for, None: all."""
        self._count(x_NCHW, account_N)
        return self._ask(x_NCHW)

    def centre_lengths(self) -> Tensor | None:
        """The lengths (K, C) of the identities' weights; None where labels have one identity each."""
        return None if self._ask_lengths is None else self._ask_lengths()

    def of_centres(self) -> Self:
        """The same view with identities as its classes: number k C + c is identity c of label k.

        It has the same ledger of the rows' queries, and one of its own for pictures that serve all rows.
        """
        centres = copy.copy(self)
        if self._ask_centres is not None:
            ask = self._ask_centres
            centres._ask = lambda x_NCHW: ask(x_NCHW).flatten(1)
            centres.classes = self.classes * self.centres
        return centres


class Scores(View):
    """The score vector without gradients, cut to its `top` largest entries."""

    def __init__(self, model: ScoringModel, rows: int, top: int | None = None) -> None:
        """Open a view that shows the `top` largest scores; None: all of them."""
        super().__init__(model, rows)
        self.top = top
        self.observed_NK: Tensor | None = None
        """Scores (N, K) of users' private pictures, one per row; None: the attacker sees no such scores."""

    def observe_outputs(self, x_NCHW: Tensor) -> None:
        """Show the attacker the scores of private pictures (N, C, H, W), one per row, but not the pictures."""
        self.observed_NK = self.scores(x_NCHW, torch.arange(len(x_NCHW)))

    @torch.no_grad()
    def scores(self, x_NCHW: Tensor, account_N: Tensor | None = None) -> Tensor:
        """Detached probabilities (N, K); entries that are not among the `top` largest are 0."""
        self._count(x_NCHW, account_N)
        p_NK = self._ask(x_NCHW.detach()).exp()
        if self.top is None:
            return p_NK
        value, index = p_NK.topk(min(self.top, self.classes), dim=1)
        return torch.zeros_like(p_NK).scatter_(1, index, value)


class Labels(View):
    """The winning class only."""

    @torch.no_grad()
    def labels(self, x_NCHW: Tensor, account_N: Tensor | None = None) -> Tensor:
        """Class numbers (N,); -1 if a score is NaN."""
        self._count(x_NCHW, account_N)
        log_y_NK = self._ask(x_NCHW.detach())
        return torch.where(log_y_NK.isnan().any(1), -1, log_y_NK.argmax(1))


VIEWS: dict[str, type[View]] = {"white_box": WhiteBox, "scores": Scores, "labels": Labels}
"""The views by the words of a recipe, from the one that shows most."""


def shows(most: type[View], wanted: type[View]) -> bool:
    """Whether a model that shows `most` to an attacker can be attacked through the view `wanted`."""
    order = list(VIEWS.values())
    return order.index(most) <= order.index(wanted)


def view_word(view: type[View]) -> str:
    """A recipe's word for a view, such as `white_box`."""
    return next(word for word, kind in VIEWS.items() if kind is view)
