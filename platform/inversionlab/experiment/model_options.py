"""What a user says of a model to audit without a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inversionlab.core.addresses import refuse_uri
from inversionlab.core.settings import ConfigError
from inversionlab.data.survey import FolderSurvey

Access = Literal["white_box", "scores", "labels"]


@dataclass(frozen=True)
class Choice:
    """One key of a recipe."""

    key: str
    value: Any
    """A plain value, as in YAML."""
    why: str
    """The reason, as a line of text."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What the user says of the model and the pictures; `model` or `endpoint` is given."""

    model: str | None = None
    weights: Path | None = None
    endpoint: str | None = None
    budget: int | None = None
    classes: Path | None = None
    gallery: str | None = None
    answers: str = "auto"
    access: Access | None = None
    """What the attacker may see; None: all that the model gives, as far as its name tells."""
    data: FolderSurvey | None = None
    """The pictures of the people whom the model knows; None: there are none at hand."""
    public: FolderSurvey
    """The strangers' pictures."""
    image_size: int | None = None
    model_size: int | None = None
    """The shorter side that the model takes, in pixels; None: not known."""
    attacks: Sequence[str] = ()
    """Names of the attacks; none: the standard suite, as far as access and budget allow."""
    suite: bool = False
    """Whether `attacks` join the whole standard suite."""
    gpu: bool = False
    """Whether there is a GPU."""
    faces: bool = False
    """Whether the independent face embedding is installed."""


def access(given: ModelOptions) -> tuple[Access, str]:
    """What the attacker sees of the model, and why, as far as that can be said before it is loaded."""
    function = (given.model or "").rpartition(":")[2].rpartition(".")[2]
    if given.access is not None:
        return given.access, "as said"
    if given.answers == "labels":
        return "labels", "the model answers labels alone"
    if given.endpoint is not None:
        return (
            "scores",
            "an endpoint has no gradients; if it answers labels alone, say so by --answers labels",
        )
    if given.answers == "top_k":
        return "scores", "a list of the best classes has no gradients"
    if is_import_path(given.model) and function.islower():
        return "scores", f"`{function}` is a function by its name, which has no gradients"
    return "white_box", "whoever has the model's file has its gradients"


def refuse_model_uri(model: str, option: str) -> None:
    """Check that a model's name is no URI, whose secret would stand in every text about the model.

    Raises:
        ConfigError: it is one; `option` begins the text.
    """
    # `gs:Net` is a class Net of a module gs.
    if ":/" in model:
        try:
            refuse_uri(model)
        except ValueError as error:
            raise ConfigError(f"{option}: {error}") from error


def is_import_path(model: str | None) -> bool:
    """Whether it is `package.module:name`, not a name of torchvision or timm."""
    return model is not None and ":" in model and not model.startswith(("torchvision:", "timm:"))
