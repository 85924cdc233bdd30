"""Models that Python code builds: a class or function by its import path, and those of torchvision and timm."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.core.user_code import blamed_on, import_object
from inversionlab.core.weights import fitted, load_into, read_state_dict
from inversionlab.given.raw_model import RawModel
from inversionlab.given.settings import GivenModelSettings

DOWNLOADS = {"pretrained", "weights", "weights_backbone", "checkpoint_path"}
"""Arguments with which torchvision and timm fetch weights."""


def load_imported(settings: GivenModelSettings, weights: bytes | None = None) -> RawModel:
    """The model at an import path `package.module:name`.

    A subclass of `nn.Module` is built with `arguments`. A function that got `arguments`, or needs none, is called
    with them and returns a module. Every other function takes pictures and answers.

    Args:
        settings: the model, with an import path as `model`.
        weights: what the file `settings.weights` holds, where the file itself is elsewhere.

    Raises:
        ConfigError: it cannot be imported or built, is neither, or its weights are missing or do not fit.
    """
    name = f"model = {settings.model}"
    found = import_object(str(settings.model), "model")
    is_module = isinstance(found, type) and issubclass(found, nn.Module)
    if isinstance(found, type) and not is_module:
        raise ConfigError(
            f"{name}: is a class but not a torch.nn.Module; expected such a class, or a function"
        )
    if isinstance(found, nn.Module) or not callable(found):
        raise ConfigError(
            f"{name}: is a {type(found).__name__}; name its class, or a function that returns it"
        )
    if is_module or settings.arguments or not _takes_pictures(found):
        return _with_weights(settings, weights, lambda: _built(found, settings))
    if settings.weights is not None:
        raise ConfigError(
            f"weights = {settings.weights}: `{settings.model}` is a function of pictures, which loads its own; "
            "leave `weights` out, or name the network's class as `model`"
        )
    note = "it is a function, which gives scores only; name the network's class to attack it by gradients"
    return RawModel(found, name=name, differentiable=False, note=note)


def _takes_pictures(function: Callable[..., Any]) -> bool:
    """Whether a function needs an argument."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some of those written in C do not say
        return True
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is p.empty for p in parameters)


def _built(kind: Callable[..., Any], settings: GivenModelSettings) -> nn.Module:
    name = f"model = {settings.model}"
    with blamed_on(f"{name}: cannot be built with arguments {settings.arguments}"):
        module = kind(**settings.arguments)
    if not isinstance(module, nn.Module):
        raise ConfigError(
            f"{name}: returned a {type(module).__name__} when called with arguments {settings.arguments}; "
            "expected a torch.nn.Module. A function that answers pictures takes them as its first argument"
        )
    return module


def load_registered(
    settings: GivenModelSettings, classes: int | None, weights: bytes | None = None
) -> RawModel:
    """A model of torchvision or timm, `torchvision:NAME` or `timm:NAME`; nothing is downloaded.

    Its last layer has `arguments.num_classes` units, or `classes`, or as many as the weights have.

    Args:
        settings: the model.
        classes: K, or None if it is not known.
        weights: what the file `settings.weights` holds, where the file itself is elsewhere.

    Raises:
        ConfigError: timm is not installed, the name is unknown, or the weights are missing or do not fit.
    """
    library, _, model = str(settings.model).partition(":")
    name = f"model = {settings.model}"
    make = _torchvision(model, name) if library == "torchvision" else _timm(model, name)
    if refused := sorted(DOWNLOADS & settings.arguments.keys()):
        raise ConfigError(
            f"arguments.{refused[0]}: nothing is downloaded; give the weights' file as `weights`"
        )
    if settings.weights is None and weights is None:
        raise ConfigError(_random(settings, "its parameters"))
    arguments = dict(settings.arguments)
    # The length of an embedding is not the number of people.
    if classes is not None and settings.answers != "embedding":
        arguments.setdefault("num_classes", classes)

    def build() -> nn.Module:
        return _built(make, settings.model_copy(update={"arguments": arguments}))

    if "num_classes" not in arguments:
        module = build()
        last = [n for n, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
        state = fitted(_state(settings, weights), module.state_dict())
        if (units := state.get(f"{last[-1]}.weight")) is not None:
            arguments["num_classes"] = len(units)
        elif library == "timm":
            arguments["num_classes"] = 0  # features without a last layer
    return _with_weights(settings, weights, build)


def _torchvision(model: str, name: str) -> Callable[..., nn.Module]:
    from torchvision import models

    known = models.list_models(models)
    if model not in known:
        raise ConfigError(f"{name}: torchvision has no such classifier; {_nearest(model, known)}")

    def make(**arguments: Any) -> nn.Module:
        if model in ("googlenet", "inception_v3"):
            # They warn, and take long, where it is not given.
            arguments.setdefault("init_weights", False)
        made: nn.Module = models.get_model(model, weights=None, **arguments)
        return made

    return make


def _timm(model: str, name: str) -> Callable[..., nn.Module]:
    try:
        import timm
    except ImportError as error:
        raise ConfigError(f"{name}: needs timm: pip install 'inversionlab[timm]'") from error
    # The part after the dot names weights that timm would download.
    base = model.partition(".")[0]
    known = timm.list_models()
    if base not in known:
        raise ConfigError(f"{name}: timm has no such model; {_nearest(base, known)}")

    def make(**arguments: Any) -> nn.Module:
        made: nn.Module = timm.create_model(base, pretrained=False, **arguments)
        return made

    return make


def _nearest(word: str, known: list[str]) -> str:
    near = [f"`{other}`" for other in difflib.get_close_matches(word, known, n=3)]
    return f"did you mean {' or '.join(near)}?" if near else f"it has, for example, `{known[0]}`"


def _with_weights(
    settings: GivenModelSettings, weights: bytes | None, build: Callable[[], nn.Module]
) -> RawModel:
    """The built module with its weights; without a file, only if its constructor loads them."""
    if settings.weights is None and weights is None:
        module = _not_random(settings, build)
    else:
        module = build()
        load_into(module, _state(settings, weights), f"weights = {settings.weights}")
    gives_scores = settings.access in ("scores", "labels")
    return RawModel(
        module,
        name=f"model = {settings.model}",
        differentiable=not gives_scores,
        trainable=True,
        note=f"`access` is {settings.access}" if gives_scores else "",
    )


def _state(settings: GivenModelSettings, weights: bytes | None) -> Mapping[str, Tensor]:
    if weights is not None:
        return read_state_dict(weights, f"weights = {settings.weights}")
    assert settings.weights is not None
    return read_state_dict(settings.weights, "weights")


def _not_random(settings: GivenModelSettings, build: Callable[[], nn.Module]) -> nn.Module:
    """The module, built twice: a parameter that was loaded, and not drawn, is the same both times."""
    built = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built.append(dict((module := build()).named_parameters()))
    # NaN is equal to nothing, and refused by what it answers.
    drawn = [
        name
        for name, weight in built[0].items()
        if name in built[1] and not torch.equal(weight.nan_to_num(), built[1][name].nan_to_num())
    ]
    if drawn or built[0].keys() != built[1].keys():
        more = f" and {len(drawn) - 1} more" if len(drawn) > 1 else ""
        raise ConfigError(_random(settings, f"`{(drawn or [*built[0], *built[1]])[0]}`{more}"))
    return module


def _random(settings: GivenModelSettings, what: str) -> str:
    return (
        f"model = {settings.model}: has random weights ({what}); give its trained weights, a safetensors file or "
        "a state dict, as `weights: FILE`"
    )
