"""Private fake samples that are inverted again while the victim is fine-tuned on them (`gan_fake_samples`)."""

from collections.abc import Callable

from torch import Tensor, nn

from inversionlab.core.contracts import ScoringModel, as_scoring_model


class Renewal(nn.Module):
    """The private samples, inverted again after every so many steps; a checkpoint holds them."""

    def __init__(
        self, every: int, invert: Callable[[ScoringModel], Tensor], first_NCHW: Tensor
    ) -> None:
        """`invert` returns uint8 samples (N, C, H, W) of a model; `first_NCHW` are those of the victim."""
        super().__init__()
        self.every, self.invert = every, invert
        self.samples_NCHW: Tensor
        self.register_buffer("samples_NCHW", first_NCHW)

    def renewed(self, model: nn.Module, step: int) -> Tensor:
        """The samples for a step, counted from 0."""
        if step and step % self.every == 0:
            fresh_NCHW = self.invert(as_scoring_model(model))
            self.samples_NCHW = fresh_NCHW.to(self.samples_NCHW.device)
        return self.samples_NCHW
