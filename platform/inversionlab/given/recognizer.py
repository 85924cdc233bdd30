"""A given model as a recognizer: pictures in [0, 1] in, log-probabilities over its people out."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.settings import ConfigError
from inversionlab.core.views import VIEWS, Labels, Scores, View, WhiteBox, shows, view_word
from inversionlab.given.preprocessing import Preprocessing
from inversionlab.given.raw_model import RawModel
from inversionlab.given.settings import GivenModelSettings

TINIEST = 1e-30
"""The least probability; a zero has no logarithm that gradients can pass."""
SUMS = 1e-2
"""How far the sum of a row's probabilities may be from 1."""


class GivenHead(nn.Module):
    """Features to logits: cosines with the enrolled people, or the features themselves, which are log-scores."""

    def __init__(self, gallery_KD: Tensor | None, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.gallery_KD: Tensor | None
        self.register_buffer("gallery_KD", gallery_KD)

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Logits (N, K)."""
        if self.gallery_KD is None:
            return feature_ND
        return self.scale * functional.linear(functional.normalize(feature_ND), self.gallery_KD)

    def loss(self, feature_ND: Tensor, y_N: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy, for defenses that fine-tune the model."""
        return functional.cross_entropy(self(feature_ND), y_N, label_smoothing=smoothing)


class GivenRecognizer(nn.Module):
    """Wraps the user's model: preprocessing before it, one meaning of its answers behind it."""

    classes: int
    """K, the number of people that it knows."""

    def __init__(
        self,
        raw: RawModel,
        settings: GivenModelSettings,
        *,
        channels: int,
        answers: str,
        classes: int,
        gallery_KD: Tensor | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            raw: the user's model, on pictures as it takes them.
            settings: how it is asked.
            channels: of the pictures, 1 or 3.
            answers: what it answers; `answer_kind` finds out. auto: its first answer shows it.
            classes: K.
            gallery_KD: the mean direction of each enrolled person's embeddings, for an embedding.
        """
        super().__init__()
        if raw.size is not None and settings.preprocessing.size is None:
            # The file says what size it takes.
            sized = settings.preprocessing.model_copy(update={"size": raw.size})
            settings = settings.model_copy(update={"preprocessing": sized})
        self.preprocessing = Preprocessing(settings.preprocessing, channels)
        self.raw, self.answers, self.classes = raw, answers, classes
        self.head = GivenHead(gallery_KD, settings.scale)
        self.settings = settings
        chosen = VIEWS.get(settings.access)
        if chosen is not None and self.view is not chosen:
            why = f" ({raw.note})" if raw.note else ""
            raise ConfigError(
                f"access = {settings.access}: the model gives no more than {view_word(self.view)}{why}; set it to "
                f"{view_word(self.view)}, or leave it out"
            )

    @property
    def view(self) -> type[View]:
        """The view that shows most of it: what it can give, or less if its settings say so."""
        able: type[View] = WhiteBox if self.raw.differentiable else Scores
        if self.answers == "labels":
            able = Labels
        chosen = VIEWS.get(self.settings.access, able)
        return chosen if shows(able, chosen) else able

    def features(self, x_NCHW: Tensor) -> Tensor:
        """Embeddings (N, D), or, of a classifier, its log-scores (N, K).

        Raises:
            RuntimeError: gradients are asked of a model that gives none.
        """
        if x_NCHW.requires_grad and torch.is_grad_enabled() and not self.raw.differentiable:
            why = f": {self.raw.note}" if self.raw.note else ""
            raise RuntimeError(f"the given model has no gradients{why}")
        answer_NK: Tensor = self.raw(self.preprocessing(x_NCHW))
        if self.answers == "auto":
            # An endpoint's answers are known once it is asked.
            self.answers = answer_kind(self.settings, answer_NK)
        match self.answers:
            case "logits":
                return functional.log_softmax(answer_NK.float(), dim=1)
            case "probabilities":
                return answer_NK.float().clamp_min(TINIEST).log()
            case "labels" if answer_NK.ndim == 1:
                return functional.one_hot(answer_NK.long(), self.classes).float().log()
            case "top_k" | "labels":
                # What is not among the largest scores has probability 0, as behind `Scores.top`.
                return answer_NK.float().log()
        return answer_NK.float()

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of pictures (N, C, H, W) in [0, 1]."""
        feature_ND = self.features(x_NCHW)
        if self.answers != "embedding":
            return feature_ND
        return functional.log_softmax(self.head(feature_ND), dim=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The same as `log_scores`."""
        return self.log_scores(x_NCHW)


def answer_kind(settings: GivenModelSettings, answer_NK: Any) -> str:
    """What the model answers, by the settings or, if they say `auto`, by its answers to some pictures.

    Raises:
        ConfigError: the answers are not what the settings say, or could mean two things.
    """
    whole = not answer_NK.is_floating_point()
    if settings.answers == "labels" or (settings.answers == "auto" and whole):
        return "labels"
    if answer_NK.ndim != 2:
        raise ConfigError(f"answers: must be (N, K), but are {tuple(answer_NK.shape)}")
    if settings.answers in ("logits", "embedding", "top_k"):
        return settings.answers
    sum_N, largest = answer_NK.float().sum(1), float(answer_NK.max())
    shares = bool((answer_NK >= 0).all()) and largest <= 1 + SUMS
    sums = bool(((sum_N - 1).abs() < SUMS).all())
    logs = largest <= SUMS and bool(((answer_NK.float().exp().sum(1) - 1).abs() < SUMS).all())
    if settings.answers == "probabilities" and not (shares and sums):
        raise ConfigError(
            "answers = probabilities: the rows are not probabilities (they lie between "
            f"{float(answer_NK.min()):.3g} and {largest:.3g}, and their sums between {float(sum_N.min()):.3g} and "
            f"{float(sum_N.max()):.3g}); set answers = logits, or leave it out"
        )
    if settings.answers == "log_probabilities" and not logs:
        raise ConfigError(
            "answers = log_probabilities: the rows are not logarithms of probabilities that add up to 1; set "
            "answers = logits, or leave it out"
        )
    if settings.answers != "auto":
        return settings.answers
    if shares and sums:
        return "probabilities"
    if shares and answer_NK.shape[1] > 1:
        raise ConfigError(
            "answers = auto: the scores lie between 0 and 1 but do not add up to 1; say what they are: "
            "answers = logits (a softmax is put on them), or make the model answer with probabilities"
        )
    return "log_probabilities" if logs else "logits"
