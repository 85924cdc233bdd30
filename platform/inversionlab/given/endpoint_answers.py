"""What an endpoint's answers mean: from the JSON that came to score vectors.

An entry, the answer to one picture, is one of three kinds:

- `scores`: a list of K numbers;
- `labels`: a class, by its number from 0 or by its name in the class list;
- `top_k`: a list of objects with a class (under `label`, `class`, `name` or `person`) and its score (under
  `score`, `confidence` or `probability`).
"""

import difflib
import json
import math
from typing import Any, Literal

import torch

from inversionlab.core.settings import ConfigError
from inversionlab.given.endpoint_expression import Expression
from inversionlab.given.endpoint_settings import EndpointSettings
from inversionlab.given.settings import Answers

Kind = Literal["scores", "labels", "top_k"]
CLASS_KEYS = ("label", "class", "name", "person")
SCORE_KEYS = ("score", "confidence", "probability")
SHOWN = 200
"""Characters of an answer that an error shows."""
IN_WORDS = {
    "scores": "a list of scores",
    "labels": "a class",
    "top_k": "a list of {label, score} objects",
}


class EndpointError(RuntimeError):
    """The endpoint does not answer, or not as it should; the text says what came."""


def shown(value: Any) -> str:
    """The beginning of what came."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _is_list_of_one(value: Any) -> bool:
    """Whether a value is a list with an entry, rather than an entry that is a list."""
    if not isinstance(value, list) or len(value) != 1:
        return False
    return isinstance(value[0], list | str) or _is_class_number(value[0])


class AnswerReader:
    """Turns answers into score vectors (K,); the first one settles what `auto` and the settings leave open."""

    def __init__(
        self, settings: EndpointSettings, answers: Answers, names: tuple[str, ...] | None
    ) -> None:
        """Read answers of this kind; `names` is the class list, None: classes come as scores alone.

        Raises:
            ConfigError: as `Expression` raises it.
        """
        self._expression = Expression(settings.answer)
        self._place = self._expression.place
        self._single, self._answers = settings.batch_size == 1, answers
        self._named = names is not None
        self._numbers = {name: number for number, name in enumerate(names or ())}
        self.kind: Kind | None = None
        """What the entries are; None: not known before the first."""
        if answers in ("labels", "top_k"):
            self.kind = "labels" if answers == "labels" else "top_k"
        elif answers != "auto":
            self.kind = "scores"
        self.length = len(names) if names is not None and answers != "embedding" else None
        """K; None: not known before the first list of scores."""

    def entries(self, value: Any, pictures: int) -> list[Any]:
        """The entries in an answer's JSON value, one for each of its pictures; each makes a vector.

        Raises:
            ConfigError: the expression finds nothing, or not an entry a picture; and as `vector` does.
        """
        try:
            found = self._expression.search(value)
        except Exception as error:  # jmespath lets errors of Python's through
            raise ConfigError(
                f"{self._place}: does not fit the answer ({type(error).__name__}); received: {shown(value)}"
            ) from error
        if found is None:
            raise ConfigError(
                f"{self._place}: finds nothing in the answer; received: {shown(value)}"
            )
        if self._single and not _is_list_of_one(found):
            found = [found]
        if not isinstance(found, list) or len(found) != pictures:
            count = f"a list of {len(found)}" if isinstance(found, list) else "no list"
            raise ConfigError(
                f"{self._place}: {pictures} pictures were sent, and the expression finds {count}; received: "
                f"{shown(found)}. It should find a list with an entry for each picture; with batch_size = 1 the "
                "entry itself will do"
            )
        for entry in found:
            self.vector(entry)
        return found

    def vector(self, entry: Any) -> list[float]:
        """The score vector of an entry: all scores, a top-k list with 0 elsewhere, or 1 at the label.

        Raises:
            ConfigError: the entry is not what the settings say, or names an unknown class.
            EndpointError: a score is not a finite number, or a class is there twice.
        """
        # A list without anyone says that nobody was recognized.
        kind = "top_k" if entry == [] and self.kind == "top_k" else _kind_of(entry)
        if self.kind is None:
            self.kind = kind
        if kind != self.kind:
            raise ConfigError(
                f"victim.answers = {self._answers}: {IN_WORDS[self.kind]} was expected for each picture, but "
                f"{IN_WORDS[kind]} came: {shown(entry)}; correct it or the expression "
                "`victim.endpoint.answer`"
            )
        if kind == "scores":
            return self._scores(entry)
        pairs = [(entry, 1.0)] if kind == "labels" else [_pair(item) for item in entry]
        if self.length is None:
            raise ConfigError(
                f"victim.classes = null: {IN_WORDS[kind]} came, and without the class list the number of classes "
                "is not known; name the file as `classes`"
            )
        vector = [0.0] * self.length
        numbers = [self._number(label) for label, _ in pairs]
        if len(set(numbers)) < len(numbers):
            raise EndpointError(f"the endpoint names a class twice: {shown(entry)}")
        for number, (_, score) in zip(numbers, pairs, strict=True):
            vector[number] = _finite(score, entry)
        return vector

    def _scores(self, entry: list[Any]) -> list[float]:
        if self.length is None:
            self.length = len(entry)
        if len(entry) != self.length:
            known = (
                f"`classes` names {self.length}" if self._named else f"others hold {self.length}"
            )
            raise ConfigError(
                f"victim.classes: an answer holds {len(entry)} scores, but {known}; received: {shown(entry)}. "
                "`classes` should name every class of the model, in its order, and `victim.endpoint.answer` find "
                "the scores"
            )
        return [_finite(score, entry) for score in entry]

    def _number(self, label: Any) -> int:
        """The class number of a label."""
        assert self.length is not None
        if _is_class_number(label):
            if not 0 <= label < self.length:
                raise ConfigError(
                    f"victim.classes: the endpoint answers class {shown(label)}, but `classes` names "
                    f"{self.length}, which have the numbers 0 to {self.length - 1}"
                )
            return int(label)
        if label not in self._numbers:
            near = difflib.get_close_matches(str(label), self._numbers, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "name every class of the model there"
            raise ConfigError(
                f"victim.classes: the endpoint answers `{shown(label)}`, which is not in `classes`; {hint}"
            )
        return self._numbers[label]


def _kind_of(entry: Any) -> Kind:
    if isinstance(entry, str) or _is_class_number(entry):
        return "labels"
    if isinstance(entry, list) and entry:
        if all(isinstance(item, dict) for item in entry):
            return "top_k"
        if all(isinstance(item, int | float) and not isinstance(item, bool) for item in entry):
            return "scores"
    if isinstance(entry, list) and any(item is None for item in entry):
        raise EndpointError(f"the endpoint's scores are not all numbers: {shown(entry)}")
    raise ConfigError(
        f"victim.endpoint.answer: finds {shown(entry)} for a picture, which is neither a list of scores, nor a "
        "class, nor a list of {label, score} objects; correct the expression"
    )


def _pair(item: dict[str, Any]) -> tuple[Any, Any]:
    """Class and score of a top-k object."""
    labels = [item[key] for key in CLASS_KEYS if key in item]
    scores = [item[key] for key in SCORE_KEYS if key in item]
    usable = len(labels) == len(scores) == 1
    if not usable or not (isinstance(labels[0], str) or _is_class_number(labels[0])):
        raise ConfigError(
            f"victim.endpoint.answer: {shown(item)} should hold a class under one of {', '.join(CLASS_KEYS)}, and "
            f"its score under one of {', '.join(SCORE_KEYS)}; an expression such as "
            "`results[*].{label: id, score: similarity}` renames them"
        )
    return labels[0], scores[0]


def _finite(score: Any, entry: Any) -> float:
    """A score as a number that float32 holds."""
    number = math.nan
    if isinstance(score, int | float) and not isinstance(score, bool):
        # Python's whole numbers may be too large for a float.
        number = float(score) if abs(score) < torch.finfo(torch.float32).max else math.inf
    if not math.isfinite(number):
        raise EndpointError(f"the endpoint's scores are not finite numbers: {shown(entry)}")
    return number


def _is_class_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
