"""Random fake samples (D4): the fine-tuning of `gan_fake_samples` on pictures that nobody inverted.

Paper:    Gong et al. 2023, §VI-A and Table III, the baseline "random fake samples".
Releases: the fine-tuned victim, one network in its place.
Trains:   by eq. 7-10 (fine_tuning.py), with pictures drawn at random from the private pictures of l_t in place of
          the inverted private samples, and from the public pictures of l_p in that of the inverted public ones.
          L_pri is thus maximised on true pictures of l_t: the paper reports MC(l_t) = 0 %.
Defaults: gamma = 2, as there; the paper gives no other number ("a similar loss").
Protects: white box too: nothing is wrapped that could be taken off.
Deviates: who has fewer than `samples` pictures has some of them in it more than once.
Extends:  `private_weight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from inversionlab.core import seeds
from inversionlab.core.contracts import TrainingJob
from inversionlab.defenses.base import DefenseContext, DefenseSettings
from inversionlab.defenses.fake_samples import (
    FakeSampleDefense,
    FakeSampleSettings,
    protected_labels,
    public_labels,
)
from inversionlab.defenses.fine_tuning import fake_lesson


class RandomFakeSamplesSettings(FakeSampleSettings):
    """Settings of the defense by random fake samples."""

    name: Literal["random_fake_samples"] = "random_fake_samples"


class RandomFakeSamples(FakeSampleDefense):
    """Fine-tunes the victim on random pictures of protected people and of strangers."""

    Settings: ClassVar[type[DefenseSettings]] = RandomFakeSamplesSettings
    settings: RandomFakeSamplesSettings
    needs: ClassVar[frozenset[str]] = frozenset({"victim", "strangers"})

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Draw the pictures, then fine-tune a copy of the victim on them.

        Raises:
            ValueError: no stranger is on more than one public picture, so there is no l_p.
        """
        labels = protected_labels(self.settings, context)
        strangers = int(context.public_class_N.max()) + 1
        if strangers == 0:
            raise ValueError(
                "random_fake_samples: no stranger is on more than one public picture; more are needed"
            )
        chosen = public_labels(labels, strangers, context.seed)
        return fake_lesson(
            self.settings,
            context,
            labels,
            self._drawn(
                context.private_NCHW, context.private_class_N, labels, context.seed, "private"
            ),
            self._drawn(
                context.public_NCHW, context.public_class_N, chosen, context.seed, "public"
            ),
        )

    def _drawn(
        self,
        images_NCHW: Tensor,
        class_N: Tensor,
        classes: Sequence[int],
        seed: int,
        kind: str,
    ) -> Tensor:
        """`samples` pictures of each of these classes, none twice while there are others."""
        rows = []
        for wanted in classes:
            own = (class_N == wanted).nonzero().squeeze(1)
            stream = seeds.torch_stream(seed, "random_fake_samples", kind, wanted)
            own = own[torch.randperm(len(own), generator=stream)]
            rows.append(own[torch.arange(self.settings.samples) % len(own)])
        return images_NCHW[torch.cat(rows)]
