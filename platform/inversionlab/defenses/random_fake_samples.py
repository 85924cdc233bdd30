"""Random fake samples (D4): the fine-tuning of `gan_fake_samples`, on pictures that were not inverted.

Paper:    Gong et al. 2023, §VI-A and Table III, the baseline "random fake samples".
Releases: the fine-tuned victim, one network in its place.
Trains:   by eq. 7-10 (parts/fine_tuning.py), with random private pictures of l_t as the inverted private samples
          and random public pictures of l_p as the inverted public ones. So L_pri is maximised on true pictures of
          l_t: the paper reports MC(l_t) = 0 %.
Defaults: gamma = 2, as there; the paper gives no other number ("a similar loss").
Protects: white box too, because nothing is wrapped that could be removed.
Deviates: pictures of a person who has fewer than `samples` are taken more than once.
Extends:  `private_weight`, and `fine_tuning_steps`, a number of steps that does not grow with the labels.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob
from inversionlab.defenses.base import Defense, DefenseContext, DefenseSettings
from inversionlab.defenses.parts.fine_tuning import (
    FakeSamplesDefense,
    FakeSamplesSettings,
    fine_tuning_job,
    public_labels,
)


class RandomFakeSamplesSettings(FakeSamplesSettings, DefenseSettings):
    """Settings of the defense by random fake samples."""

    name: Literal["random_fake_samples"] = "random_fake_samples"


class RandomFakeSamples(FakeSamplesDefense, Defense):
    """Fine-tunes the victim on random pictures of protected people and of strangers."""

    Settings: ClassVar[type[DefenseSettings]] = RandomFakeSamplesSettings
    settings: RandomFakeSamplesSettings
    needs: ClassVar[frozenset[str]] = frozenset({"victim", "strangers"})

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Draw the pictures and fine-tune a copy of the victim; ValueError if no stranger can be an l_p."""
        labels = self.settings.labels(context.targets, context.classes)
        strangers = int(context.public_class_N.max()) + 1
        if strangers == 0:
            raise ValueError(
                "random_fake_samples: no stranger is in more than one public picture; more are needed"
            )
        chosen = public_labels(labels, strangers, context.seed)
        private_NCHW = self._drawn(context, "private", labels)
        public_NCHW = self._drawn(context, "public", chosen)
        return fine_tuning_job(self.settings, context, labels, private_NCHW, public_NCHW)

    def _drawn(
        self, context: DefenseContext, kind: Literal["private", "public"], classes: Sequence[int]
    ) -> Tensor:
        """`samples` pictures of each of these classes, none twice while there are others."""
        images_NCHW, class_N = context.public_NCHW, context.public_class_N
        if kind == "private":
            images_NCHW, class_N = context.private_NCHW, context.private_class_N
        rows = []
        for wanted in classes:
            own = (class_N == wanted).nonzero().squeeze(1)
            stream = seeds.torch_stream(context.seed, "random_fake_samples", kind, wanted)
            own = own[torch.randperm(len(own), generator=stream)]
            rows.append(own[torch.arange(self.settings.samples) % len(own)])
        return images_NCHW[torch.cat(rows)]
