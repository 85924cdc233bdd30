"""Networks that exist and are not trained: the user's own victim, and evaluators that were trained elsewhere.

The machine that starts an experiment has the user's files, and other nodes may not. So it reads them once and
stores them as an artifact like any trained network; `SessionSpec.given` tells every process what they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.core.contracts import TrainingJob
from inversionlab.core.images import to_float
from inversionlab.core.rows import select
from inversionlab.core.settings import ConfigError
from inversionlab.data.labelled import Labelled
from inversionlab.data.splits import Splits
from inversionlab.experiment import Experiment
from inversionlab.given.live import load_live
from inversionlab.given.loading import load_model, packed_file
from inversionlab.given.raw_model import RawModel, check_answers
from inversionlab.given.recognizer import GivenRecognizer, answer_kind
from inversionlab.given.settings import LIVE, SFACE, GivenModelSettings
from inversionlab.pipeline.enrolment import enrol
from inversionlab.pipeline.given_facts import GivenFacts
from inversionlab.pipeline.input_advice import input_advice
from inversionlab.pipeline.network_spec import BuildContext, NetworkSpec
from inversionlab.pipeline.recognizer_specs import RecognizerData
from inversionlab.recognizers import RecognizerSettings

PROBES = 4
"""Pictures of each person that show how well an embedding recognizes."""
EXAMPLES = 8
"""Pictures on which a given model is tried."""
NOT_INPUTS = {"weights", "classes", "access", "stand_in", "endpoint"}
"""Settings of a given model that do not change its answers, or whose content its digest names."""


@dataclass(frozen=True)
class GivenSpec(NetworkSpec):
    """A model that exists: the victim, or an evaluator."""

    name: str
    """What messages call it."""
    settings: GivenModelSettings
    facts: GivenFacts
    experiment: Experiment
    protocol_name: str = ""
    """An evaluator's protocol, `embedding` or `given`."""
    pool: tuple[int, ...] = ()

    @property
    def given(self) -> bool:
        """Always: nothing is trained."""
        return True

    @property
    def of_the_data(self) -> bool:
        """Whether the victim's gallery is made of the experiment's private pictures."""
        return self.settings.gallery == "private" and not self.protocol_name

    @property
    def title(self) -> str:
        """Its name for users."""
        return f"{self.role} ({self.structure_name}, given)"

    @property
    def structure_name(self) -> str:
        """What tables call the model."""
        if self.settings.model == SFACE:
            return "SFace"
        return Path(self.settings.model).name if self.settings.model else "endpoint"

    @property
    def structure(self) -> RecognizerSettings:
        """The recognizer that defenses train in its place."""
        return self.settings.stand_in

    @property
    def has_gallery(self) -> bool:
        """Whether an evaluator decides by the nearest private person."""
        return self.protocol_name == "embedding"

    def own_inputs(self) -> dict[str, Any]:
        """What its answers depend on, by content and not by place."""
        own = self.settings.model_dump(mode="json", exclude=NOT_INPUTS)
        if isinstance(self.settings.gallery, Path):
            own["gallery"] = "folder"
        if self.settings.model is not None and ":" not in self.settings.model:
            own["model"] = Path(self.settings.model).suffix
        protocol = {"protocol": self.protocol_name} if self.protocol_name else {}
        classes = None if self.facts.classes is None else list(self.facts.classes)
        return {**protocol, "given": own, "digest": self.facts.digest, "classes": classes}

    def data(self, splits: Splits) -> RecognizerData:
        """The pictures that an evaluator is tested on, its gallery, and its class of every target.

        Raises:
            ConfigError: it does not know a target, or a target has no held-out picture for the gallery.
        """
        if self.has_gallery:
            lacking = set(self.pool) - set(splits.test.class_N.tolist())
            if lacking:
                raise ConfigError(
                    f"evaluators ({self.name}): `{splits.people[min(lacking)]}` has no held-out picture for the "
                    "gallery; raise split.test_fraction or split.private_min_pictures"
                )
            # With one picture of a person nothing is held out, and the gallery does not know the person.
            enrolled_N = torch.isin(splits.train.class_N, splits.test.class_N.unique())
            known = splits.train.select(enrolled_N)
            probes = _first(known, PROBES)
            return RecognizerData(probes, probes, {p: p for p in self.pool}, splits.test)
        names = self.facts.classes or splits.people
        place = {name: index for index, name in enumerate(names)}
        missing = [splits.people[p] for p in self.pool if splits.people[p] not in place]
        if missing:
            raise ConfigError(
                f"evaluators ({self.name}): does not know the target `{missing[0]}`; an evaluator must know every "
                "target"
            )
        class_of = {p: place[splits.people[p]] for p in self.pool}
        rows_N = torch.isin(splits.test.class_N, torch.tensor(self.pool))
        mapped_N = torch.tensor([class_of[c] for c in splits.test.class_N[rows_N].tolist()])
        test = Labelled(select(splits.test.images_NCHW, rows_N), mapped_N.long())
        return RecognizerData(test, test, class_of)

    def build(self, context: BuildContext) -> GivenRecognizer:
        """The model, from the user's own files, after a trial on some pictures.

        Raises:
            ConfigError: it cannot be loaded, or does not answer as its settings say.
        """
        names = self.names(context)
        raw = self._load(context, len(names), None)
        channels = context.shape.channels
        if self.settings.endpoint is not None:
            # It is asked, and its people are enrolled, when the audit begins, and not to make a plan.
            return GivenRecognizer(
                raw,
                self.settings,
                channels=channels,
                answers=self.settings.answers,
                classes=len(names),
            )
        trial = GivenRecognizer(
            raw, self.settings, channels=channels, answers="logits", classes=len(names)
        )
        answer_NK = self._tried(trial, _examples(context))
        answers = answer_kind(self.settings, answer_NK)
        if answers == "embedding" and not self.protocol_name:
            self.enrol(trial, context)
        elif answers != "embedding" and answer_NK.ndim == 2 and answer_NK.shape[1] != len(names):
            raise ConfigError(
                f"the model gives {answer_NK.shape[1]} scores, but {len(names)} people are known by name; "
                "list every person that it knows, in the order of its scores, in the file `classes`"
            )
        return GivenRecognizer(
            raw,
            self.settings,
            channels=channels,
            answers=answers,
            classes=len(names),
            gallery_KD=trial.head.gallery_KD,
        )

    def _tried(self, trial: GivenRecognizer, x_NCHW: Tensor) -> Tensor:
        """The model's answers to some pictures in [0, 1]."""
        try:
            return check_answers(trial.raw, trial.preprocessing(x_NCHW))
        except ConfigError as error:
            advice = input_advice(trial.raw, self.settings.preprocessing, x_NCHW)
            raise ConfigError(f"{error}{advice}") from error

    def pack(self, module: nn.Module) -> dict[str, Tensor]:
        """Everything that another node needs to restore the model: its file or its weights, and its gallery."""
        assert isinstance(module, GivenRecognizer)
        packed = {"answers": _bytes(module.answers.encode())}
        file = packed_file(self.settings) if self.settings.model not in (None, LIVE) else None
        if file is not None:
            packed["file"] = _bytes(file)
        else:
            packed |= {f"raw.{k}": v for k, v in module.raw.state_dict().items()}
        if module.head.gallery_KD is not None:
            packed["gallery"] = module.head.gallery_KD
        return packed

    def restore(self, context: BuildContext, weights: Mapping[str, Tensor]) -> GivenRecognizer:
        """The model from what `pack` made of it, on any node."""
        names = self.names(context)
        file = weights.get("file")
        raw = self._load(context, len(names), None if file is None else file.numpy().tobytes())
        if file is None:
            own = {k.removeprefix("raw."): v for k, v in weights.items() if k.startswith("raw.")}
            raw.load_state_dict(own)
        return GivenRecognizer(
            raw,
            self.settings,
            channels=context.shape.channels,
            answers=weights["answers"].numpy().tobytes().decode(),
            classes=len(names),
            gallery_KD=weights.get("gallery"),
        )

    def training_job(self, context: BuildContext) -> TrainingJob:
        """Refuses: it is given."""
        raise TypeError(f"{self.title} is not trained")

    def names(self, context: BuildContext) -> tuple[str, ...]:
        """The people whom it knows, in the order of its classes."""
        return self.facts.classes or context.splits.people

    def _load(self, context: BuildContext, classes: int, file: bytes | None) -> RawModel:
        embeds = self.settings.answers == "embedding"
        if self.role == "victim" and (self.settings.endpoint or self.settings.model == LIVE):
            if context.live is None:
                raise ConfigError(
                    f"victim.model = {LIVE}: only `inversionlab.audit(model=...)` in Python hands over a module"
                )
            return load_live(self.settings, context.live)
        return load_model(self.settings, None if embeds else classes, file)

    def enrol(self, embedding: GivenRecognizer, context: BuildContext) -> None:
        """Give an embedding the gallery of the victim's people.

        Raises:
            ConfigError: the gallery and the names do not fit.
        """
        embedding.answers = "embedding"
        means_KD = enrol(
            embedding.to(context.device), self.experiment, context, self.names(context)
        )
        embedding.head.gallery_KD = means_KD.to(context.device)


def _examples(context: BuildContext) -> Tensor:
    """Some pictures in [0, 1], a gray one among them."""
    x_NCHW = to_float(context.splits.public_NCHW[:EXAMPLES], context.device)
    return torch.cat([torch.full_like(x_NCHW[:1], 0.5), x_NCHW])


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _first(pictures: Labelled, count: int) -> Labelled:
    """At most `count` pictures of each class, the first of each."""
    seen: dict[int, int] = {}
    kept = []
    for row, class_ in enumerate(pictures.class_N.tolist()):
        seen[class_] = seen.get(class_, 0) + 1
        if seen[class_] <= count:
            kept.append(row)
    return pictures.select(kept)
