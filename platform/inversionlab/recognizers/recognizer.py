"""A recognizer: backbone and head, and its training.

Inputs: pictures (N, C, H, W) in [0, 1]. The backbone may run under autocast to bfloat16. Scores are computed in
float32 everywhere: an attack that estimates gradients from score differences would otherwise read rounding errors.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.settings import Settings, any_of
from inversionlab.recognizers.augment import AugmentSettings, augment
from inversionlab.recognizers.base import Backbone, NetworkSettings
from inversionlab.recognizers.imported import Imported, source_digest
from inversionlab.recognizers.ir50 import Ir50
from inversionlab.recognizers.khosravy_cnn import KhosravyCnn
from inversionlab.recognizers.losses import LOSSES, AnyLoss, Cosface, Head
from inversionlab.recognizers.small_resnet import SmallResnet
from inversionlab.recognizers.torchvision_model import TorchvisionModel
from inversionlab.recognizers.vgg16 import Vgg16
from inversionlab.recognizers.yang_cnn import YangCnn

FeatureLoss = Callable[[Head, Tensor, Tensor], Tensor]
"""The loss of a head, features (N, D) and what is known of the pictures, such as classes (N,) or scores (N, K)."""
RECOGNIZERS: dict[str, Any] = {
    "imported": Imported,
    "ir50": Ir50,
    "khosravy_cnn": KhosravyCnn,
    "small_resnet": SmallResnet,
    "torchvision": TorchvisionModel,
    "vgg16": Vgg16,
    "yang_cnn": YangCnn,
}

if TYPE_CHECKING:
    AnyNetwork = NetworkSettings
else:
    AnyNetwork = any_of(RECOGNIZERS)


class RecognizerSettings(Settings):
    """One recognizer: structure, loss and training."""

    network: AnyNetwork = SmallResnet.Settings()
    """The structure of the backbone."""
    loss: AnyLoss = Cosface.Settings()
    """The head and its loss."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target probability that is spread over all classes."""
    augment: AugmentSettings = AugmentSettings()
    """Random changes of the training pictures."""
    training: TrainingSettings = TrainingSettings(
        epochs=40, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=5e-2
    )
    """How long and how fast the recognizer is trained."""


def recognizer_inputs(settings: RecognizerSettings) -> dict[str, Any]:
    """All that a trained recognizer depends on, as JSON values: the settings, and the user's own code.

    Raises:
        ConfigError: the user's network cannot be imported.
    """
    inputs = settings.model_dump(mode="json")
    if isinstance(settings.network, Imported.Settings):
        inputs["source"] = source_digest(settings.network)
    return inputs


class Recognizer(nn.Module):
    """Pictures to class scores."""

    def __init__(
        self,
        settings: RecognizerSettings,
        *,
        classes: int,
        channels: int,
        image_size: int,
        seed: int,
    ) -> None:
        """Build with weights that depend on `seed` alone.

        Raises:
            ConfigError: the network does not fit pictures of this size.
        """
        super().__init__()
        self.classes = classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = RECOGNIZERS[settings.network.name](
                settings.network, channels=channels, image_size=image_size
            )
            head = LOSSES[settings.loss.name](
                settings.loss, feature_size=backbone.feature_size, classes=classes
            )
        self.backbone: Backbone = backbone
        self.head: Head = head

    def features(self, x_NCHW: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, C, H, W) in [0, 1], float32."""
        # Channels-last convolutions are a third faster on CPUs and no slower on GPUs.
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        feature_ND: Tensor = self.backbone(x_NCHW)
        return feature_ND.float()

    def logits(self, x_NCHW: Tensor) -> Tensor:
        """Logits (N, K), without a margin."""
        logit_NK: Tensor = self.head(self.features(x_NCHW))
        return logit_NK

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K), differentiable in the pictures."""
        return functional.log_softmax(self.logits(x_NCHW), dim=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The same as `log_scores`."""
        return self.log_scores(x_NCHW)


class RecognizerLearner(Learner):
    """A recognizer in training."""

    def __init__(self, settings: RecognizerSettings, *, seed: int, **sizes: int) -> None:
        """Build the recognizer and its optimizer; the arguments are those of `Recognizer`."""
        self.settings = settings
        self.loss: FeatureLoss = self._own_loss
        """What is learned: the head's own loss on classes, unless its maker puts another one in its place."""
        self.recognizer = Recognizer(settings, **sizes, seed=seed)
        super().__init__(settings.training, recognizer=self.recognizer)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch; returns `loss`."""
        x_NCHW = augment(x_NCHW, self.settings.augment, rng)
        with self.autocast(x_NCHW):
            feature_ND = self.recognizer.features(x_NCHW)
        loss = self.loss(self.recognizer.head, feature_ND, y_N)
        self.descend("recognizer", loss, sync)
        return {"loss": loss.detach()}

    def _own_loss(self, head: Head, feature_ND: Tensor, y_N: Tensor) -> Tensor:
        return head.loss(feature_ND, y_N, self.settings.label_smoothing)
