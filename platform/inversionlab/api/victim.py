"""The model under attack, from whatever form a caller in Python has it in. The caller's own stays as it is."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError, validate
from inversionlab.core.views import Scores, View, WhiteBox
from inversionlab.defenses import ProtectedModel
from inversionlab.defenses.base import Undefended
from inversionlab.given.live import load_live
from inversionlab.given.raw_model import RawModel, check_answers
from inversionlab.given.recognizer import GivenRecognizer, answer_kind
from inversionlab.given.settings import LIVE, GivenModelSettings
from inversionlab.pipeline.compiled import compiled
from inversionlab.pipeline.train import frozen


def copied(module: nn.Module) -> nn.Module:
    """A copy of the caller's module in inference mode, on the same device.

    Raises:
        ConfigError: it cannot be copied.
    """
    try:
        return copy.deepcopy(module).eval()
    except Exception as error:  # A module may hold anything.
        raise ConfigError(
            f"model = {type(module).__name__}: cannot be copied ({type(error).__name__}: {error}), but an attack "
            "works on a copy only; give it as `package.module:Class` with `weights`"
        ) from error


def victim_of(
    model: Any,
    examples_NCHW: Tensor,
    *,
    preprocessing: Mapping[str, Any] | None,
    answers: str,
    classes: int | None,
) -> tuple[ProtectedModel, type[View]]:
    """The model as attacks ask it, and the view that shows most of it.

    Args:
        model: a module, a function, or anything with `log_scores` and `classes`.
        examples_NCHW: pictures in [0, 1] to try it on; they are on the device of the attack.
        preprocessing: what it expects, as in a recipe.
        answers: what it answers, as in a recipe.
        classes: K, for a model that answers with labels.

    Raises:
        ConfigError: it is none of these, fails, or does not answer as the arguments say.
    """
    device = examples_NCHW.device
    if isinstance(model, nn.Module):
        model = copied(model)
    if hasattr(model, "log_scores") and hasattr(model, "classes"):
        if preprocessing is not None or answers != "auto":
            raise ConfigError(
                f"model = {type(model).__name__}: has `log_scores`, which gives log-probabilities of pictures in "
                "[0, 1]; leave `preprocessing` and `answers` out"
            )
        whole = model if isinstance(model, ProtectedModel) else Undefended(model)
        frozen(whole, device)
        return whole, getattr(model, "view", None) or _view_of(whole, examples_NCHW)
    recognizer = _recognizer(model, examples_NCHW, preprocessing, answers, classes)
    whole = Undefended(recognizer)
    frozen(whole, device)
    return whole, recognizer.view


def compiled_victim(victim: ProtectedModel) -> ProtectedModel:
    """A model of `victim_of` as an audit's attacks ask it; one with its own `log_scores` as it is."""
    if not (isinstance(victim, Undefended) and isinstance(victim.victim, GivenRecognizer)):
        return victim
    return Undefended(compiled(victim.victim))


def _recognizer(
    model: Any,
    examples_NCHW: Tensor,
    preprocessing: Mapping[str, Any] | None,
    answers: str,
    classes: int | None,
) -> GivenRecognizer:
    """A module or a function as a recognizer."""
    if answers == "embedding":
        raise ConfigError(
            "answers = embedding: needs the pictures of the enrolled people; use `inversionlab.audit`, which "
            "has a `gallery`"
        )
    data = {"model": LIVE, "answers": answers, "preprocessing": dict(preprocessing or {})}
    settings = validate(GivenModelSettings, data, origin="model")
    if isinstance(model, nn.Module):
        raw = load_live(settings, lambda: model)
    elif callable(model):
        name = f"model = {getattr(model, '__name__', type(model).__name__)}"
        raw = RawModel(model, name=name, differentiable=False, note="a function has no gradients")
    else:
        raise ConfigError(
            f"model = {type(model).__name__}: is not a torch.nn.Module, not a function, and has no `log_scores`"
        )
    channels, device = examples_NCHW.shape[1], examples_NCHW.device
    # The trial's answers say how many classes there are, and whether they are logits.
    trial = GivenRecognizer(raw, settings, channels=channels, answers="logits", classes=1)
    frozen(trial, device)
    answer_NK = check_answers(raw, trial.preprocessing(examples_NCHW), settings.answers)
    kind = answer_kind(settings, answer_NK)
    if answer_NK.ndim == 2:
        known = answer_NK.shape[1]
        if classes not in (None, known):
            raise ConfigError(f"classes = {classes}: the model gives {known} scores; leave it out")
        classes = known
    if classes is None:
        raise ConfigError(
            "classes: is missing; a model that answers with labels does not show how many classes it has"
        )
    return GivenRecognizer(raw, settings, channels=channels, answers=kind, classes=classes)


def _view_of(model: ProtectedModel, examples_NCHW: Tensor) -> type[View]:
    """The view that shows most of a model of which only `log_scores` is known; ConfigError if that fails."""
    x_NCHW = examples_NCHW[:1].clone().requires_grad_(True)
    with torch.enable_grad():
        try:
            log_y_NK = model.log_scores(x_NCHW)
        except Exception as error:  # It is the caller's code.
            raise ConfigError(
                f"model: its `log_scores` fails on pictures of shape {tuple(x_NCHW.shape)}: {error}"
            ) from error
    if log_y_NK.shape != (1, model.classes):
        raise ConfigError(
            f"model: its `log_scores` answered {tuple(log_y_NK.shape)} to one picture; expected "
            f"(1, {model.classes}), as `classes` says"
        )
    return WhiteBox if log_y_NK.requires_grad else Scores
