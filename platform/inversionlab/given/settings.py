"""How a recipe names a model that exists: where it is, what it takes, what it answers, and whom it knows."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from inversionlab.core.addresses import refuse_uri
from inversionlab.core.alignment import similarity
from inversionlab.core.settings import AbsolutePath, Arguments, Settings
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.recognizers import RecognizerSettings

LIVE = "live"
"""The `model` of a module that is handed over from Python."""
SFACE = "sface"
"""The `model` of the independent face embedding that comes with the extra `faces`."""

Answers = Literal[
    "auto", "logits", "probabilities", "log_probabilities", "labels", "top_k", "embedding"
]
Access = Literal["auto", "white_box", "scores", "labels"]
Point = tuple[float, float]
"""x and y of a point on a square picture, in shares of its side, from the upper left corner."""
Points = tuple[Point, Point, Point, Point, Point]


class PreprocessingSettings(Settings):
    """What is done to a square picture in [0, 1], RGB or gray, before the model sees it.

    The order is: `points` or `size`, `colors`, `range`, `mean`, `std`, `layout`. All of it is differentiable.
    """

    size: int | tuple[int, int] | None = None
    """Height and width that the model takes, in pixels. One number stands for both. null: the size that the
    model's file gives, else that of the pictures, or 112 where `points` are given. Pictures are resized by an
    antialiased bilinear filter."""
    fit: Literal["crop", "stretch"] = "crop"
    """How a square picture is brought to a size that is not square: by its central part, or stretched."""
    points: Points | None = None
    """Both eyes (the left one on the picture first), nose and both corners of the mouth, where the data show them,
    in shares of the side. One similarity transform then maps them to ArcFace's template, scaled to `size`; black
    fills what lies beyond the picture. null: pictures are not aligned."""
    colors: Literal["auto", "rgb", "bgr", "gray"] = "auto"
    """The order of the channels that the model takes; auto: those of the data. Gray is repeated in three channels,
    and RGB becomes gray by luma."""
    range: Literal["0..1", "0..255", "-1..1"] = "0..1"
    """The range of the pixels that the model takes, before `mean` and `std`."""
    mean: tuple[float, ...] = ()
    """The value that is subtracted from each channel that the model takes, in units of `range`. One number applies
    to all channels."""
    std: tuple[float, ...] = ()
    """The value that each channel is divided by afterwards, in units of `range`. One number applies to all
    channels."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    """The order of the axes that the model takes."""

    @field_validator("size")
    @classmethod
    def _pixels(cls, size: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        sides = size if isinstance(size, tuple) else () if size is None else (size,)
        if not all(8 <= side <= 4096 for side in sides):
            raise ValueError("a picture has 8 to 4096 pixels per side")
        return size

    @field_validator("std")
    @classmethod
    def _positive(cls, std: tuple[float, ...]) -> tuple[float, ...]:
        if any(number <= 0 for number in std):
            raise ValueError("pixels are divided by it; each number should be greater than 0")
        return std

    @field_validator("points")
    @classmethod
    def _a_face(cls, points: Points | None) -> Points | None:
        if points is None:
            return None
        if not all(0 <= number <= 1 for point in points for number in point):
            raise ValueError("should be shares of the side from 0 to 1; divide pixels by it")
        similarity(points)
        return points

    @model_validator(mode="after")
    def _units_of_range(self) -> Self:
        wide = self.range == "0..255"
        low, high = {"0..1": (0, 1), "0..255": (0, 255), "-1..1": (-1, 1)}[self.range]
        if any(not low <= number <= high for number in self.mean):
            right = (
                "; are these units of `range: 0..255`?" if max(self.mean) > 1 and not wide else ""
            )
            raise ValueError(
                f"mean = {list(self.mean)}: lies outside of range = {self.range}{right}"
            )
        # Pixels in 0..255 spread over more than 1, and those of the other ranges over less than 2.
        if wide and (0 < max(self.mean, default=0) <= 1 or min(self.std, default=1) < 1):
            raise ValueError(
                f"mean = {list(self.mean)}, std = {list(self.std)}: are not in units of range = 0..255; "
                "set `range: 0..1`, or multiply them by 255"
            )
        if not wide and max(self.std, default=1) > 10:
            raise ValueError(
                f"std = {list(self.std)}: is not in units of range = {self.range}; "
                "set `range: 0..255`, or divide it by 255"
            )
        return self


class GivenModelSettings(Settings):
    """A trained model of the user's own. Nothing here is trained."""

    model: str | None = Field(default=None, min_length=1, max_length=4096)
    """Which model: `package.module:Class` or a function's `package.module:predict`; a file `*.onnx`, `*.pt2`
    (torch.export) or `*.pt`, `*.ts`, `*.torchscript` (TorchScript); `torchvision:NAME` or `timm:NAME`; `sface`."""
    arguments: Arguments = Field(default_factory=dict)
    """Keyword arguments of the class, or of the constructor that torchvision or timm has for the name."""
    weights: AbsolutePath | None = None
    """A state dict as `*.safetensors`, or as `*.pt`, `*.pth` that holds tensors alone."""
    endpoint: EndpointSettings | None = None
    """A model that is reached over HTTP, in place of `model`."""
    answers: Answers = "auto"
    """What the model answers. auto: logits, probabilities, log-probabilities or labels, as its answers show. An
    embedding must be named here and needs a `gallery`."""
    access: Access = "auto"
    """The most that the attacker may see of the model; auto: all that the model can give."""
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    """What the model expects of a picture."""
    classes: AbsolutePath | None = None
    """The people that the model knows, in the order of its classes: a text file (one class per line) or JSON (a
    list, or names to numbers). null: the sorted names of the people's folders."""
    # `private` stands first, because it would be a path too.
    gallery: Literal["private"] | AbsolutePath | None = None
    """For an embedding, the pictures of the enrolled people: a folder with one folder for each person, or
    `private`, the private people's training pictures."""
    scale: float = Field(default=24.0, gt=0, le=1000)
    """Factor that turns an embedding's cosines with the enrolled people into logits. It does not change who is
    recognized. Confidences grow with it, so an attack's `stop`, a probability, is reached sooner. With 24 on 40
    people of LFW, SFace gives the right person 0.99 on average, and a weaker embedding (75 % recognized) 0.70."""
    stand_in: RecognizerSettings = RecognizerSettings()
    """The recognizer that a defense trains where it needs one of the victim's structure. The structure of a given
    model cannot be built anew."""

    @field_validator("model")
    @classmethod
    def _no_uri(cls, model: str | None) -> str | None:
        # `gs:Net` is a class Net of a module gs.
        if model is not None and ":/" in model:
            refuse_uri(model)
        return model

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError("name either a `model` or an `endpoint`")
        if self.answers == "embedding" and self.gallery is None:
            raise ValueError(
                "answers = embedding: needs the enrolled people; give a folder as `gallery`, or `gallery: private`"
            )
        if self.gallery is not None and self.answers != "embedding":
            raise ValueError("gallery: only an embedding has one; set `answers: embedding`")
        if self.endpoint is not None and (self.weights or self.arguments):
            raise ValueError("endpoint: has no `weights` and no `arguments`; leave them out")
        return self
