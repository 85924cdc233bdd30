"""A class that is made to win: its log-score is raised so that it survives rounding to float32."""

import torch
from torch import Tensor

MARGIN = 2.0**-18
"""The least lead of the label's log-score, in nats."""


def with_winner(c_NK: Tensor, label_N: Tensor) -> Tensor:
    """Float64 logits (N, K) with `label_N` (N,) raised to win by at least `MARGIN`; the others are unchanged."""
    l_N1 = label_N[:, None]
    others_N1 = c_NK.detach().scatter(1, l_N1, -torch.inf).amax(1, keepdim=True)
    return c_NK.scatter(1, l_N1, c_NK.gather(1, l_N1).maximum(others_N1 + MARGIN))


def released(c_NK: Tensor, label_N: Tensor) -> Tensor:
    """Float32 log-probabilities (N, K) of float64 logits (N, K), with `label_N` (N,) as the only winner."""
    return with_winner(c_NK, label_N).log_softmax(1).float()
