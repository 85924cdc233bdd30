"""The user's model as it is: it asks the model, and brings every form of answer to one tensor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from inversionlab.core.settings import ConfigError
from inversionlab.core.user_code import blamed_on
from inversionlab.given.settings import Answers

LANE = 8
"""Pictures that a model gets at once on a CPU whose layers nobody sees from outside."""
EXPECTED = "expected a tensor (N, K): for each of N pictures, K scores or an embedding of K numbers"


class RawModel(nn.Module):
    """Maps preprocessed pictures to the model's answers, on the pictures' device; its parameters are frozen."""

    def __init__(
        self,
        answer: Callable[[Tensor], Any],
        *,
        name: str,
        differentiable: bool,
        trainable: bool = False,
        batch: int | None = None,
        size: tuple[int, int] | None = None,
        opaque: bool = False,
        note: str = "",
        explains: bool = False,
    ) -> None:
        """Wrap a model.

        Args:
            answer: a module or a function; it gets floats (N, C, H, W), or whatever the preprocessing makes.
            name: the key and value that name the model in the recipe, for messages.
            differentiable: whether gradients reach the pictures.
            trainable: whether the module has a training mode and parameters to fine-tune.
            batch: the only N that the model takes; None: it takes any.
            size: the only height and width that it takes; None: it takes several, or does not say.
            opaque: whether its layers cannot be seen from outside, so that `pipeline/batch_invariant.py` cannot
                make its answers to a picture independent of the other pictures, to the last bit.
            note: why it gives scores only, in words; "" where it gives gradients.
            explains: whether its errors say by themselves what is wrong, and are raised as they are.
        """
        super().__init__()
        self.network = answer
        self.name, self.note, self.explains = name, note, explains
        self.differentiable, self.trainable = differentiable, trainable
        self.batch, self.size, self.opaque = batch, size, opaque
        self.requires_grad_(False)
        if isinstance(answer, nn.Module) and trainable:
            answer.eval()
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """The answers to N preprocessed pictures: floats (N, K), labels (N,), or (N, Q, 2) for a top-k list.

        Raises:
            ConfigError: the model fails, or does not give an answer for each picture.
        """
        if not self.differentiable:
            with torch.no_grad():
                return self._answers(x.detach())
        # A copy, since a model that works in place would overwrite what the backward pass needs.
        return self._answers(x.clone())

    def _answers(self, x: Tensor) -> Tensor:
        batch = (
            LANE if self.batch is None and self.opaque and x.device.type == "cpu" else self.batch
        )
        if batch is None or len(x) == batch:
            return self._asked(x)
        parts = []
        for part in x.split(batch):
            # The last part is filled up with its last picture.
            filler = part[-1:].expand(batch - len(part), *part.shape[1:])
            parts.append(self._asked(torch.cat([part, filler]))[: len(part)])
        return torch.cat(parts)

    def _asked(self, x: Tensor) -> Tensor:
        try:
            answer = self.network(x)
        except torch.OutOfMemoryError:
            raise  # no fault of the model's
        except BaseException:
            if self.explains:
                raise
            with blamed_on(f"{self.name}: fails on pictures of shape {tuple(x.shape)}"):
                raise
        try:
            answers = answer_tensor(answer)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from error
        if answers.ndim == 0 or len(answers) != len(x):
            raise ConfigError(
                f"{self.name}: answered {tuple(answers.shape)} to {len(x)} pictures; {EXPECTED}"
            )
        return answers.to(x.device)

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, where the module has one; an exported or scripted model has none."""
        return super().train(mode) if self.trainable else self


def picture_size(dims: Sequence[int | None]) -> tuple[int, int] | None:
    """Height and width in the axes of an input, (N, C, H, W) or (N, H, W, C), where both are fixed."""
    if len(dims) != 4:
        return None
    last = dims[3] in (1, 3) and dims[1] not in (1, 3)
    height, width = dims[1:3] if last else dims[2:4]
    return (height, width) if height and width else None


def told(error: BaseException) -> str:
    """An error of the user's code in one line: its type, and the first line of its text."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def answer_tensor(answer: Any) -> Tensor:
    """The tensor in a model's answer: the first of a tuple, `logits` of a mapping, or a list turned into one.

    Raises:
        ConfigError: there is none; the text says what was returned and what is expected.
    """
    if isinstance(answer, Tensor):
        return answer
    if isinstance(answer, Mapping):
        tensors = [item for item in answer.values() if isinstance(item, Tensor)]
        if isinstance(logits := answer.get("logits"), Tensor):
            return logits
        if len(tensors) == 1:
            return tensors[0]
        keys = ", ".join(f"`{key}`" for key in list(answer)[:5]) or "nothing"
        raise ConfigError(f"returned a mapping of {keys} without a tensor `logits`; {EXPECTED}")
    if isinstance(answer, tuple | list) and any(isinstance(item, Tensor) for item in answer):
        tensors = [item for item in answer if isinstance(item, Tensor)]
        rows = isinstance(answer, list) and all(item.ndim <= 1 for item in tensors)
        return torch.stack(tensors) if rows else tensors[0]
    if isinstance(logits := getattr(answer, "logits", None), Tensor):
        return logits
    try:
        made: Tensor = torch.as_tensor(answer)
        return made
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"returned {type(answer).__name__}; {EXPECTED}") from error


def check_answers(model: RawModel, x: Tensor, answers: Answers = "auto") -> Tensor:
    """Ask the model about example pictures, and refuse what no audit could use.

    Args:
        model: the model, on the device of `x`.
        x: N >= 1 preprocessed pictures.
        answers: what the recipe says that it answers.

    Returns:
        The answers, without gradients.

    Raises:
        ConfigError: it fails, its answers are no finite (N, K), or a model that should give gradients breaks them.
    """
    name = model.name
    with torch.no_grad():
        found: Tensor = model(x)
    shape = tuple(found.shape)
    labels = found.ndim == 1 and not found.is_floating_point() and answers in ("auto", "labels")
    pairs = found.ndim == 3 and shape[2] == 2 and answers == "top_k"
    if not (labels or pairs or (found.ndim == 2 and shape[1] > 0)) or found.is_complex():
        expected = "expected whole numbers (N,)" if answers == "labels" else EXPECTED
        raise ConfigError(
            f"{name}: answered {found.dtype} of shape {shape} to {len(x)} pictures; {expected}"
        )
    if not bool(found.isfinite().all()):
        row = int((~found.isfinite()).flatten(1).any(1).nonzero()[0])
        raise ConfigError(
            f"{name}: answered NaN or infinite numbers to picture {row} of {len(x)} example pictures; "
            "its weights may be damaged, or `preprocessing` may not be what it was trained with"
        )
    if model.differentiable:
        _check_gradient(model, x, labels)
    return found


def _check_gradient(model: RawModel, x: Tensor, labels: bool) -> None:
    advice = "set `access: scores` (or `labels`) to audit it by its answers alone"
    if labels:
        raise ConfigError(f"{model.name}: answers labels, which have no gradient; {advice}")
    x = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        try:
            found = model(x)
        except ConfigError as error:
            raise ConfigError(f"{error}; it works only without gradients; {advice}") from error
        gradient = None
        if found.requires_grad:
            # Of the squares, since the sum of probabilities is constant.
            (gradient,) = torch.autograd.grad(found.square().sum(), x, allow_unused=True)
    if gradient is None:
        raise ConfigError(
            f"{model.name}: breaks the gradient between its answers and the pictures (argmax, .detach(), .numpy() "
            f"or torch.no_grad() in its forward); take it out, or {advice}"
        )
    if not bool(gradient.isfinite().all()):
        raise ConfigError(f"{model.name}: has a gradient that is NaN or infinite; {advice}")
