"""The inversion model A (N3): a decoder from score vectors to pictures, and its training.

Papers: Yang et al. 2019, "Adversarial Neural Network Inversion via Auxiliary Knowledge Alignment" (public code
github.com/yziqi/adversarial-model-inversion); Wen et al. 2021 (§V-A.3: the same network attacks, and a copy with
two hidden layers fewer defends); Zhang et al. 2023, "Analysis and Utilization of Hidden Information in Model
Inversion Attacks" (public code github.com/zhangzp9970/Amplified-MIA).
Vector:    v = t(y), elementwise, because a score vector carries most of its information in its small entries:
           log    t(y) = max(log y + c, 0), c = 50    (Yang; a truncated entry, y = 0, stays 0)
           power  t(y) = y^a, a = 1/11                (Zhang's non-linear amplification)
           plain  t(y) = y
Structure: K -> a 4x4 map, then transposed convolutions (kernel 4) that double the side up to the picture; batch
           normalisation and tanh (Zhang: ReLU) after each except the last, which has a sigmoid. 64x64: 1024, 512,
           256, 128 channels; 32x32: 512, 256, 128.
Loss:      mean over pixels and pictures of (A(F(x)) - x)^2.
Inputs:    probabilities (N, K); pictures (N, C, H, W) in [0, 1], H = W a multiple of 8 from 8 to 256.
Seen:      MNIST, 30,000 digits for the classifier (99.0 %) and 30,000 others for A (width 32, 4 epochs): error
           0.029 with `log` as with `power`, 0.050 for the mean picture. The mean of the 20 digits of nearest
           scores errs by 0.029 too, so these scores hold about that much. Wen's 0.0096 is for an A trained on
           QMNIST, which contains the classifier's own digits.
Deviates:  Yang adds the shortfall to the whole vector where log y < -c; here such an entry becomes 0, like a
           truncated one, so a vector does not shift as a whole with its smallest entry. The first layer has
           one bias per unit. Channels stop growing at 8 x `width`. By default AdamW with the platform's schedules
           replaces Adam with amsgrad at a constant 2e-4 (`training: {optimizer: amsgrad, learning_rate: 0.0002,
           schedule: constant, weight_decay: 0}`). By default the last epoch is kept; Yang's code keeps the best,
           which is `training: {keep: best}`.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob
from inversionlab.core.images import to_float
from inversionlab.core.learner import Average, GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.rows import Images, select
from inversionlab.core.settings import ConfigError, Settings
from inversionlab.generators.blocks import channels_at, pyramid

CHUNK = 256
"""Held-out pictures in a forward pass."""


class InversionModelSettings(Settings):
    """Structure of an inversion model."""

    width: int = Field(default=128, ge=1, le=1024)
    """Channels of the last hidden map; each map before it has twice as many, up to 8 x."""
    layers_fewer: int = Field(default=0, ge=0, le=5)
    """Number of hidden layers that are left out. The others then enlarge the map by more than 2 (Wen's defender:
    2)."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Activation after every hidden layer."""
    vector: Literal["log", "power", "plain"] = "log"
    """t, the transform of the scores at the input."""
    log_shift: float = Field(default=50.0, gt=0, le=80)
    """c, the shift of the log-scores; scores below e^-c count as 0."""
    exponent: float = Field(default=1 / 11, gt=0, le=1)
    """a, the exponent of y^a."""


class InversionTraining(TrainingSettings):
    """How an inversion model is trained."""

    keep: Literal["last", "best"] = "last"
    """Which weights are kept: those of the last epoch, or those of the best one. The best one has the smallest
    error on public pictures that were held out of the training. No evaluator is asked."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the public pictures that `keep: best` holds out."""

    @model_validator(mode="before")
    @classmethod
    def _of_any_training(cls, given: Any) -> Any:
        """Take the settings of any training, which keep the last epoch."""
        return dict(given) if type(given) is TrainingSettings else given

    @model_serializer(mode="wrap")
    def _as_stored(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out both where nothing is held out, as it was before there was a choice."""
        without = ("keep", "held_out") if self.keep == "last" else ()
        return {k: v for k, v in plain(self).items() if k not in without}


class InversionModel(nn.Module):
    """Score vectors to pictures."""

    def __init__(
        self, settings: InversionModelSettings, *, classes: int, channels: int, image_size: int
    ) -> None:
        """Build for vectors of `classes` scores and pictures of `channels` x `image_size` x `image_size`.

        Raises:
            ConfigError: the size is not a multiple of 8 from 8 to 256, or no layer would remain.
        """
        super().__init__()
        self.settings = settings
        self.side, steps = pyramid(image_size, smallest=8)
        layers_left = steps - settings.layers_fewer
        if layers_left < 1:
            raise ConfigError(
                f"layers_fewer = {settings.layers_fewer}: pictures of this size leave {steps} layers after the "
                f"first map, and one must remain; at most {steps - 1}"
            )
        # As even as can be; the first layers make the fewer doublings.
        each, more = divmod(steps, layers_left)
        activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[settings.activation]
        level = steps
        size_in = channels_at(steps - 1, settings.width)
        self.dense = nn.Linear(classes, size_in * self.side**2)
        layers: list[nn.Module] = [nn.BatchNorm2d(size_in), activation()]
        for doublings in [each] * (layers_left - more) + [each + 1] * more:
            level -= doublings
            size_out = channels_at(level - 1, settings.width) if level > 0 else channels
            factor = 2**doublings
            layers.append(nn.ConvTranspose2d(size_in, size_out, 2 * factor, factor, factor // 2))
            if level > 0:
                layers += [nn.BatchNorm2d(size_out), activation()]
            size_in = size_out
        self.layers = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, y_NK: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] of probabilities (N, K), differentiable where y > 0."""
        x_NCHW: Tensor = self.dense(self.stretched(y_NK)).unflatten(1, (-1, self.side, self.side))
        # Channels-last is twice as fast on CPUs.
        x_NCHW = self.layers(x_NCHW.contiguous(memory_format=torch.channels_last))
        return x_NCHW

    def stretched(self, y_NK: Tensor) -> Tensor:
        """The vector v = t(y) of probabilities (N, K)."""
        options = self.settings
        if options.vector == "log":
            return y_NK.clamp_min(math.exp(-options.log_shift)).log() + options.log_shift
        if options.vector == "power":
            return y_NK.pow(options.exponent)
        return y_NK


class InversionLearner(Learner):
    """An inversion model in training, on pictures and the scores that a model gave to them."""

    def __init__(
        self,
        settings: InversionModelSettings,
        training: TrainingSettings,
        *,
        seed: int,
        **sizes: int,
    ) -> None:
        """Build the network and its optimizer; `sizes` are those of `InversionModel`, `seed` sets the weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = InversionModel(settings, **sizes)
        super().__init__(training, inversion=self.model)
        self.best: InversionModel | None = None
        self._held_out: tuple[Images, Tensor] | None = None

    def hold_out(self, images_NCHW: Images, score_NK: Tensor) -> None:
        """Keep the weights of the epoch that errs least on these uint8 pictures, given these scores (N, K)."""
        self._held_out = images_NCHW, score_NK
        self.best = copy.deepcopy(self.model)
        self.modules = {**self.modules, "best": self.best}
        self.counters["least_error"] = math.inf

    def product(self) -> nn.Module:
        """The network of the last epoch, or of the best so far if pictures are held out."""
        return self.model if self.best is None else self.best

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch and its scores `y_N` (N, K); returns `error`, the squared error per pixel.

        Pictures are not mirrored: the scores belong to the picture that was sent to the model.
        """
        with self.autocast(x_NCHW):
            made_NCHW = self.model(y_N)
        error = functional.mse_loss(made_NCHW.float(), x_NCHW)
        self.descend("inversion", error, sync)
        return {"error": error.detach()}

    def end_epoch(
        self,
        average: Average,
        heard: Callable[[Tensor, Tensor], Tensor] = lambda x_NCHW, y_NK: y_NK,
    ) -> Losses:
        """Measure the network on the held-out pictures, and keep it if it is the best so far.

        `heard` returns what the network hears of the scores (N, K) of pictures. Returns `held_out`, the squared
        error per pixel, or nothing if no picture is held out.
        """
        if self._held_out is None or self.best is None:
            return {}
        images_NCHW, score_NK = self._held_out
        device = next(self.model.parameters()).device
        self.model.eval()
        total = torch.zeros((), device=device)
        for rows in torch.arange(len(images_NCHW)).split(CHUNK):
            x_NCHW = to_float(images_NCHW[rows], device)
            y_NK = heard(x_NCHW, score_NK[rows].to(device))
            with torch.no_grad(), self.autocast(x_NCHW):
                made_NCHW = self.model(y_NK)
            total += functional.mse_loss(made_NCHW.float(), x_NCHW) * len(rows)
        # Averaged, so that all workers keep the same epoch.
        error = average(total / len(images_NCHW))
        if float(error) < self.counters["least_error"]:
            self.best.load_state_dict(self.model.state_dict())
            self.counters["least_error"] = float(error)
        return {"held_out": error}


def holding_out(job: TrainingJob, seed: int) -> TrainingJob:
    """The job of a training that keeps the best epoch, without the random share of its pictures that finds it.

    One that keeps the last epoch, or trains no inversion model, is returned as it is.

    Raises:
        ConfigError: none or all of the pictures would be held out.
    """
    training, learner = job.training, job.learner
    if not isinstance(training, InversionTraining) or training.keep == "last":
        return job
    total = len(job.images_NCHW)
    count = round(total * training.held_out)
    if not 0 < count < total:
        raise ConfigError(
            f"training.held_out = {training.held_out:g}: holds out {count} of {total} public pictures; at least "
            "one must be held out, and one must remain"
        )
    order_N = torch.randperm(
        total, generator=seeds.torch_stream(seed, "inversion model", "held out")
    )
    held_N, rest_N = order_N[:count].sort().values, order_N[count:].sort().values
    hold_out: Callable[[Images, Tensor], None] = learner.hold_out  # type: ignore[attr-defined]
    hold_out(select(job.images_NCHW, held_N), job.class_N[held_N])
    images_NCHW = select(job.images_NCHW, rest_N)
    return replace(job, images_NCHW=images_NCHW, class_N=job.class_N[rest_N])
