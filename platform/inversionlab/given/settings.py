"""How a recipe names a model that exists: where it is, what it takes, what it answers, and whom it knows."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from inversionlab.core.settings import AbsolutePath, Settings
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
"""x and y of a landmark, in shares of the picture's side, from the upper left corner."""


class PreprocessingSettings(Settings):
    """What is done to a picture in [0, 1], RGB or gray, before the model sees it; all of it is differentiable."""

    size: int | tuple[int, int] | None = None
    """Height and width that the model takes, in pixels; one number: both; null: the pictures' own."""
    fit: Literal["crop", "stretch"] = "crop"
    """How a square picture is brought to a size that is not square: by its central part, or stretched."""
    points: tuple[Point, Point, Point, Point, Point] | None = None
    """Both eyes, nose and both corners of the mouth as the data shows them, in shares of the side. One similarity
    transform then maps them to ArcFace's template at 112 pixels. null: pictures are not aligned."""
    colors: Literal["auto", "rgb", "bgr", "gray"] = "auto"
    """The order of the channels that the model takes; auto: those of the data."""
    range: Literal["0..1", "0..255", "-1..1"] = "0..1"
    """The range of the pixels that the model takes, before `mean` and `std`."""
    mean: tuple[float, ...] = ()
    """Subtracted from each channel, in units of `range`; one number counts for all channels."""
    std: tuple[float, ...] = ()
    """Each channel is divided by it afterwards, in units of `range`."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    """The order of the axes that the model takes."""


class GivenModelSettings(Settings):
    """A trained model of the user's own. Nothing here is trained."""

    model: str | None = Field(default=None, min_length=1, max_length=4096)
    """Which model: `package.module:Class` or a function's `package.module:predict`; a file `*.onnx`, `*.pt2`
    (torch.export) or `*.pt`, `*.ts`, `*.torchscript` (TorchScript); `torchvision:NAME` or `timm:NAME`; `sface`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class, or of the constructor that torchvision or timm has for the name."""
    weights: AbsolutePath | None = None
    """A state dict as `*.safetensors`, or as `*.pt`, `*.pth` that holds tensors alone."""
    endpoint: EndpointSettings | None = None
    """A model behind HTTP, in place of `model`."""
    answers: Answers = "auto"
    """What it answers. auto: logits, probabilities, log-probabilities or labels, as its answers show. An embedding
    must be named, and needs a `gallery`."""
    access: Access = "auto"
    """What the attacker may see of it at most; auto: all that it can give."""
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    """What the model expects of a picture."""
    classes: AbsolutePath | None = None
    """The people that it knows, in the order of its classes: a text file (a line a class) or JSON (a list, or
    names to numbers). null: the sorted names of the people's folders."""
    gallery: AbsolutePath | Literal["private"] | None = None
    """For an embedding, the pictures of the people that it has enrolled: a folder with one folder for each
    person, or `private`, the private people's training pictures."""
    scale: float = Field(default=24.0, gt=0, le=1000)
    """Factor that turns an embedding's cosines with the enrolled people into logits."""
    stand_in: RecognizerSettings = RecognizerSettings()
    """The recognizer that a defense trains where it needs one of the model's structure, which cannot be built
    anew."""

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
