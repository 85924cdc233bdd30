"""The recipe's first evaluator: at which rank it puts the target of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from inversionlab.core.images import to_bytes
from inversionlab.pipeline.evaluate import Evaluator, features, gallery
from inversionlab.pipeline.session import Session


@dataclass(frozen=True)
class Judge:
    """The evaluator, held ready; nothing is read from or written to the store's tables."""

    evaluator: Evaluator
    device: torch.device

    @classmethod
    def of(cls, session: Session) -> Self:
        """The first evaluator of the recipe, with its gallery if it has one."""
        builder = session.builder
        name = session.experiment.evaluators[0].name
        spec = session.plan.evaluators[name]
        recognizer, data = builder.recognizer(spec.role), spec.data(builder.splits)
        people_KD = None
        if data.gallery is not None:
            known_ND = features(recognizer, data.gallery.images_NCHW, builder.device)
            people_KD = gallery(known_ND, data.gallery.class_N, len(builder.splits.people))
        return cls(Evaluator(name, recognizer, data.class_of, {}, people_KD), builder.device)

    @torch.no_grad()
    def ranks(self, images_NCHW: Tensor, targets: Sequence[int]) -> Tensor:
        """The rank (N,) of each picture's target among all people, 1 = best; equals count against it.

        Pictures are judged as they are stored, as bytes.
        """
        feature_ND = features(self.evaluator.recognizer, to_bytes(images_NCHW), self.device)
        logit_NK = self.evaluator.logits(feature_ND, self.device)
        class_N1 = torch.tensor([[self.evaluator.class_of[t]] for t in targets])
        return (logit_NK >= logit_NK.gather(1, class_N1)).sum(1)
