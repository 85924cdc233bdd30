"""Anonymity set: every label hides its person among D decoys, strangers who are trained exactly as the person is.

Paper:    ours; the argument is that of honeywords (Juels & Rivest 2013, "Honeywords: Making Password-Cracking
          Detectable"): whoever cannot tell the real entry from D others finds it with probability 1/(D+1).
Trains:   the victim's structure with one centre an identity. Label k owns C = D + 1 identities: the person and D
          strangers. The victim's own loss is taken over identities, so a person and a decoy are learned alike:
          equally many pictures an epoch, drawn alike, changed alike. With `strangers`, the public people of two
          pictures or more are identities of their own as well. They teach the trunk and are dropped afterwards.
          With `pretrained` the trunk starts from F_C, a recognizer of these people.
Releases: log p_k(x) = log sum_c exp s_kc(x) - log sum_jc exp s_jc(x),  s the identities' logits.
Decoys:   `strangers`: people whom nobody but the defender knows (`split.decoy_people`). `generated`: faces of a
          generator of public people, one latent a decoy and n latents N(z, v^2) around it for as many pictures as
          the person has, v the spread of the encodings of one person's pictures (measured on public people).
          Neither kind is derived from private people. `generated` ones hide nobody from an attacker who learns the
          model's answers to photographs (docs/anonymity_set.md).
Secret:   the place of the person among the C centres of a label, and who the decoys are. The seed draws both,
          together with the content of all private pictures, so recipe and code do not tell. With `cosface` all
          centres are released with the same length; a `cross_entropy` head keeps lengths and biases, which may.
Protects: white box too: the weights hold C centres a label and do not say which one is real, as long as people and
          decoys are exchangeable. A decoy of few pictures is learned from fewer different ones than the person.
          The set still holds the person: who returns C candidates has the face among them.
Price:    a stranger who looks like a decoy is taken for its label, and pictures of the person may fall to another
          label's decoy.
Ranges:   D >= 0; 0 is the victim with one centre a label.
"""

import hashlib
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor, nn
from torch.nn import functional

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob
from inversionlab.core.learner import GradientSync, Learner, Losses, TrainingSettings
from inversionlab.core.rows import Images, join, rows_of, select
from inversionlab.core.views import Labels, Scores, View, WhiteBox
from inversionlab.defenses.base import (
    Defense,
    DefenseContext,
    DefenseSettings,
    Layer,
    VictimBlueprint,
)
from inversionlab.defenses.parts.generated_people import generated_people
from inversionlab.defenses.parts.public_start import start_from_public


class AnonymitySetSettings(DefenseSettings):
    """Settings of the anonymity set."""

    name: Literal["anonymity_set"] = "anonymity_set"
    decoys: int = Field(default=3, ge=0, le=1000)
    """D, the number of decoys of each label."""
    kind: Literal["strangers", "generated"] = "strangers"
    """Who the decoys are. For `strangers` the data must keep D people for each private person
    (`split.decoy_people`)."""
    generator: str | None = None
    """Which of the recipe's `generators` has the structure of the one that the defender trains on public pictures
    for `generated` decoys; it must have an encoder. Null: the first that has one."""
    share: Annotated[float, Field(gt=0, le=10)] | None = 1.0
    """Number of pictures of a decoy in an epoch, as a share of the private person's number. Null: the decoy's own
    pictures once, which suits decoys who are people like the private ones. At 1, a decoy with fewer different
    pictures than the private people is learned too well, and an attacker can tell (docs/anonymity_set.md)."""
    strangers: bool = False
    """Whether the trunk also learns to tell public people apart, at the same time."""
    pretrained: bool = False
    """Whether the trunk starts from F_C, a recognizer of public people, as `transfer_learning` does."""
    training: TrainingSettings = TrainingSettings(
        epochs=40, batch_size=64, learning_rate=2e-3, schedule="one_cycle", weight_decay=5e-2
    )
    """How the network is trained. An epoch has up to D + 1 times the victim's pictures."""

    @model_serializer(mode="wrap")
    def _as_stored(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what came later where it is not used."""
        without = ["pretrained"] if not self.pretrained else []
        without += ["generator"] if self.generator is None else []
        return {k: v for k, v in plain(self).items() if k not in without}


class AnonymitySetRecognizer(nn.Module):
    """A recognizer of identities, of which several belong to each label; identity c K + k belongs to label k."""

    def __init__(self, network: nn.Module, classes: int, centres: int) -> None:
        """`network` has logits for `classes` x `centres` identities or more; further ones are ignored."""
        super().__init__()
        self.network, self.classes, self.centres = network, classes, centres

    def centre_log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K, C) of all centres of all labels."""
        # Any: defenses do not import the recognizers' classes.
        network: Any = self.network
        logit_NI = network.logits(x_NCHW)[:, : self.classes * self.centres]
        log_p_NI = functional.log_softmax(logit_NI, dim=1)
        return log_p_NI.view(-1, self.centres, self.classes).transpose(1, 2)

    def centre_lengths(self) -> Tensor:
        """The lengths (K, C) of the weights of all centres."""
        network: Any = self.network
        length_I: Tensor = network.head.lengths()[: self.classes * self.centres]
        return length_I.view(self.centres, self.classes).T

    def log_scores(self, x_NCHW: Tensor) -> Tensor:
        """Log-probabilities (N, K) of the labels."""
        return self.centre_log_scores(x_NCHW).logsumexp(2)


class AnonymitySetLearner(Learner):
    """Trains the identities, and further strangers who belong to no label."""

    def __init__(
        self, settings: AnonymitySetSettings, context: DefenseContext, strangers: int
    ) -> None:
        """Build the network, with `strangers` further identities, and its optimizer."""
        self.settings, self.augment, self.blueprint = settings, context.augment, context.blueprint
        self.recognizer = build(settings, context.blueprint, strangers)
        if settings.pretrained:
            start_from_public(self.recognizer.network, context.classifier, "anonymity_set:")
        super().__init__(settings.training, recognizer=self.recognizer)

    def step(self, x_NCHW: Tensor, y_N: Tensor, rng: torch.Generator, sync: GradientSync) -> Losses:
        """Learn from one batch, whose class numbers are identities; returns the victim's own `loss`."""
        network: Any = self.recognizer.network
        with self.autocast(x_NCHW):
            feature_ND = network.features(self.augment(x_NCHW, rng))
        loss: Tensor = network.head.loss(feature_ND, y_N)
        self.descend("recognizer", loss, sync)
        return {"loss": loss.detach()}

    def product(self) -> nn.Module:
        """The recognizer without the strangers who belong to no label."""
        released = build(self.settings, self.blueprint)
        weights = self.recognizer.state_dict()
        # Whatever has a row an identity, in every kind of head, is cut to the identities of labels.
        kept = {
            name: weights[name][: len(old)]
            for name, old in released.state_dict().items()
            if old.ndim
        }
        released.load_state_dict({**weights, **kept})
        head: Any = released.network.head
        head.forget_lengths()
        return released.to(next(self.recognizer.parameters()).device)


class AnonymitySet(Defense):
    """Hides every person among strangers."""

    Settings: ClassVar[type[DefenseSettings]] = AnonymitySetSettings
    settings: AnonymitySetSettings
    layer: ClassVar[Layer] = Layer.VICTIM
    trains: ClassVar[bool] = True
    learns_private: ClassVar[bool] = True
    wants: ClassVar[frozenset[str]] = frozenset({"encoder"})
    aware_attack: ClassVar[str] = "centre_by_centre"
    protects: ClassVar[frozenset[type[View]]] = frozenset({WhiteBox, Scores, Labels})

    def needed(self) -> frozenset[str]:
        """A generator of public people, whose encoder tells how wide people vary, for generated decoys."""
        generated = self.settings.kind == "generated" and self.settings.decoys > 0
        wanted = {
            "public_generator": generated,
            "strangers": self.settings.strangers or generated,
            "classifier": self.settings.pretrained,
        }
        return frozenset(name for name, is_wanted in wanted.items() if is_wanted)

    def decoy_people(self, classes: int) -> int:
        """D for each label, unless they are generated."""
        return self.settings.decoys * classes if self.settings.kind == "strangers" else 0

    def build(self, blueprint: VictimBlueprint) -> nn.Module:
        """The recognizer of identities, untrained; ValueError for a given victim."""
        return build(self.settings, blueprint)

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Train all identities alike."""
        images_NCHW, identity_N = self._identities(context)
        strangers = 0
        if self.settings.strangers:
            known_N = context.public_class_N >= 0
            strangers = int(context.public_class_N.max()) + 1
            first = context.classes * (self.settings.decoys + 1)
            strangers_NCHW = select(context.public_NCHW, known_N)
            images_NCHW = join([images_NCHW, strangers_NCHW])
            identity_N = torch.cat([identity_N, first + context.public_class_N[known_N]])
        return TrainingJob(
            learner=AnonymitySetLearner(self.settings, context, strangers),
            images_NCHW=images_NCHW,
            class_N=identity_N,
            training=self.settings.training,
        )

    def _identities(self, context: DefenseContext) -> tuple[Images, Tensor]:
        """The pictures of an epoch and their identities: of each decoy as many as of the person."""
        centres, classes = self.settings.decoys + 1, context.classes
        secret = _secret(context)
        rng = seeds.torch_stream(context.seed, "anonymity_set", secret, "places")
        place_K = torch.randint(centres, (classes,), generator=rng)
        count_K = torch.bincount(context.private_class_N, minlength=classes)
        pictures = [context.private_NCHW]
        identities = [place_K[context.private_class_N] * classes + context.private_class_N]
        if not self.settings.decoys:
            return pictures[0], identities[0]
        # Decoy d of label k is stranger number d K + k of a drawn order.
        label_M = torch.arange(classes).repeat(self.settings.decoys)
        other_M = torch.arange(self.settings.decoys).repeat_interleave(classes)
        other_M = (other_M + place_K[label_M] + 1) % centres
        share = self.settings.share
        wanted_M = (count_K[label_M] * (share or 1)).round().long().clamp_min(1)
        if self.settings.kind == "generated":
            count_M = wanted_M
            pictures.append(generated_people(context, secret, wanted_M))
        else:
            count_M, strangers_NCHW = _strangers(context, secret, wanted_M, own=share is None)
            pictures.append(strangers_NCHW)
        identities.append((other_M * classes + label_M).repeat_interleave(count_M))
        return join(pictures), torch.cat(identities)


def build(
    settings: AnonymitySetSettings, blueprint: VictimBlueprint, strangers: int = 0
) -> AnonymitySetRecognizer:
    """An untrained recognizer with `strangers` identities after those of the labels.

    Raises:
        ValueError: the victim is a given one.
    """
    if blueprint.with_classes is None:
        raise ValueError(
            "anonymity_set trains a head with several centres a label; a given victim's head cannot be replaced"
        )
    classes, centres = blueprint.shape.classes, settings.decoys + 1
    network = blueprint.with_classes(classes * centres + strangers)
    return AnonymitySetRecognizer(network, classes, centres)


def _secret(context: DefenseContext, chunk: int = 256) -> str:
    """What only the defender can know: a digest of all private pictures."""
    digest = hashlib.sha256()
    for pictures_NCHW in context.private_NCHW.split(chunk):
        digest.update(pictures_NCHW.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _strangers(
    context: DefenseContext, secret: str, wanted_M: Tensor, *, own: bool
) -> tuple[Tensor, Images]:
    """How many pictures of each of M strangers are used (M,), and these pictures.

    The strangers on the most pictures are taken. Each is on all of its `own` pictures once, or on the wanted
    number (M,): who has fewer repeats them.
    """
    images_NCHW, person_N = context.decoy_NCHW, context.decoy_person_N
    if images_NCHW is None or person_N is None:
        raise ValueError("anonymity_set: the data keeps no strangers for it (split.decoy_people)")
    rng = seeds.torch_stream(context.seed, "anonymity_set", secret, "strangers")
    rows_P = rows_of(person_N, int(person_N.max()) + 1)
    count_P = torch.tensor([len(rows) for rows in rows_P])
    order = torch.randperm(len(count_P), generator=rng)
    most = order[count_P[order].argsort(descending=True, stable=True)][: len(wanted_M)]
    # Whose decoy somebody is must not depend on the number of pictures.
    order = most[torch.randperm(len(most), generator=rng)]
    rows = []
    for person, wanted in zip(order.tolist(), wanted_M.tolist(), strict=True):
        shown = rows_P[person]
        rows.append(shown if own else shown[torch.arange(wanted) % len(shown)])
    return torch.tensor([len(r) for r in rows]), select(images_NCHW, torch.cat(rows))
