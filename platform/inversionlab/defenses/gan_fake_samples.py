"""GAN-based fake samples (D2, D3): the victim is fine-tuned away from what an inversion of it finds.

Paper:    Gong et al. 2023, "A GAN-Based Defense Framework Against Model Inversion Attacks" (GAN-D, GAN-ID).
Releases: the fine-tuned victim, one network in its place.
Trains:   with F_V the victim, F_C a classifier of public people and G a GAN trained on public pictures: for each
          protected label l_t, fakes found for (F_V, l_t), "inverted private", and for (F_C, l_p), "inverted
          public", l_p a public label of its own; then eq. 7-10 (parts/fine_tuning.py).
Search:   Z* = argmin_Z  -log D(G(Z)) + lambda CE(F(G(Z)), l)                                 (eq. 5-6)
          by Adam on Z, each sample from a draw of the prior. The Z of least label loss on the way is kept (the
          paper's rule), not the last one.
Critic:   -log D is softplus(-c) of the critic's c, the logit of D. A Wasserstein critic's c is no logit and its
          level has no meaning, so c is taken relative to its mean over 256 draws of the prior: a sample pays for
          looking less real than the generator's average.
Settings: GAN-D: `generator` names one of the attacker's structure; GAN-ID: one of another. The defender trains the
          GAN in both cases. Ablations (Tables IV and V): "L_pri": beta = omega = 0; "L_pri + L_pub": omega = 0;
          "L_CE": gamma = 0; "L_FL": gamma = 2.
Defaults: gamma = 2 (§IV-C); the paper gives no other number.
Protects: white box too, because nothing is wrapped that could be removed.
Deviates: the text of §IV-B has an MSE between F's output and l_p where eq. 5 has the cross-entropy; here eq. 5.
          The critic is centred. The focal weights are constants in the gradient (parts/fine_tuning.py says why).
          One fine-tuning protects many labels; the paper's, one label, is the recipe's `protect: each`.
Extends:  `private_weight`, and `fine_tuning_steps`, a number of steps that does not grow with the labels.
Seen:     LFW, 64 x 64, victim 88.7 %. One label in a network, as in the paper (jobs/recipes/lfw_one_label.yaml, 4
          people x 20 tries): accuracy 81.3 to 86.1 %, MC(l_t) 100 %; the same-people evaluator finds 10 % (GAN-D)
          and 16 % (GAN-ID) in first place of latent_white_box, undefended 92 %; of multi_mode 34 and 35 %,
          undefended 95 %. 20 labels in one network: 18 and 19 of 20 in the first five, as undefended; with
          `private_weight` 1 to 3 and L_pub 14 to 17 at 84.8 to 87.0 % accuracy, and 11 at 79.6 % with gamma = 0.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.core import seeds
from inversionlab.core.contracts import GenerativePrior, ScoringModel, TrainingJob, as_scoring_model
from inversionlab.core.images import to_bytes
from inversionlab.defenses.base import Defense, DefenseContext, DefenseSettings
from inversionlab.defenses.parts.fine_tuning import (
    FakeSamplesDefense,
    FakeSamplesSettings,
    fine_tuning_job,
    public_labels,
)
from inversionlab.defenses.parts.renewal import Renewal

CHUNK = 64
"""Samples searched at once, to bound memory."""
LEVEL_DRAWS = 256
"""Draws that the critic's mean is estimated on."""


class GanFakeSamplesSettings(FakeSamplesSettings, DefenseSettings):
    """Settings of the defense by GAN-made fake samples."""

    name: Literal["gan_fake_samples"] = "gan_fake_samples"
    generator: str | None = None
    """Which of the recipe's `generators` has the structure of the GAN that the defender trains on public
    pictures; it must have a critic. Null: the first that has one."""
    shared_generator: bool = False
    """Whether that GAN is the attackers' own network instead of one that the defender trains. No real defender has
    it. The setting shows what is lost between two networks of the same structure."""
    invert_again: int | None = Field(default=None, ge=1, le=1_000_000)
    """Number of fine-tuning steps after which the private samples are inverted again, from the model as it is
    then. Null, as in the paper: they are inverted once, from the victim."""
    lambda_identity: float = Field(default=100.0, gt=0, le=1e6)
    """lambda of eq. 6, the weight of the label relative to the discriminator."""
    steps: int = Field(default=100, ge=1, le=100_000)
    """Steps of the search for a fake sample."""
    rate: float = Field(default=0.05, gt=0, le=10)
    """Step size of that search (Adam), in latent units."""


class GanFakeSamples(FakeSamplesDefense, Defense):
    """Leads inversions of a label to a stranger's face."""

    Settings: ClassVar[type[DefenseSettings]] = GanFakeSamplesSettings
    settings: GanFakeSamplesSettings
    needs: ClassVar[frozenset[str]] = frozenset({"victim", "classifier", "public_generator"})
    wants: ClassVar[frozenset[str]] = frozenset({"critic"})

    def training_job(self, context: DefenseContext) -> TrainingJob:
        """Invert both classifiers, then fine-tune a copy of the victim on the samples found."""
        settings = self.settings
        labels = settings.labels(context.targets, context.classes)
        private_NCHW = self._private(context, labels, as_scoring_model(context.victim))
        public_NCHW = self._public(context, labels, settings.samples)
        renewal = None
        if settings.invert_again is not None:
            invert = partial(self._private, context, labels)
            renewal = Renewal(settings.invert_again, invert, private_NCHW)
        return fine_tuning_job(settings, context, labels, private_NCHW, public_NCHW, renewal)

    def decoys(self, context: DefenseContext) -> Tensor | None:
        """The first inverted public sample of each label if all are protected; otherwise none."""
        labels = self.settings.labels(context.targets, context.classes)
        if len(labels) < context.classes:
            return None
        return self._public(context, labels, 1).float() / 255

    def _private(
        self, context: DefenseContext, labels: tuple[int, ...], model: ScoringModel
    ) -> Tensor:
        """Inverted private samples of a model, as many for each protected label as the settings say."""
        settings = self.settings
        return inverted_samples(
            settings, context, model, labels, settings.samples, "inverted private"
        )

    def _public(self, context: DefenseContext, labels: tuple[int, ...], count: int) -> Tensor:
        """Inverted public samples, `count` for each protected label."""
        classifier = as_scoring_model(context.classifier)
        strangers = public_labels(labels, classifier.classes, context.seed)
        return inverted_samples(
            self.settings, context, classifier, strangers, count, "inverted public"
        )


def inverted_samples(
    settings: GanFakeSamplesSettings,
    context: DefenseContext,
    model: ScoringModel,
    labels: Sequence[int],
    count: int,
    purpose: str,
) -> Tensor:
    """uint8 pictures (len(labels) * count, C, H, W) on the CPU, `count` in a row for each of the model's labels.

    A sample's draw depends on the seed, `purpose`, its label and its place among that label's samples.
    ValueError if the context has no generator.
    """
    generator, device = context.generator, context.device
    if generator is None:
        raise ValueError("gan_fake_samples: needs a generator trained on public pictures")
    class_N = torch.tensor(labels, device=device).repeat_interleave(count)
    draws = [
        generator.draw(1, seeds.torch_stream(context.seed, purpose, label, place))
        for label in labels
        for place in range(count)
    ]
    with torch.no_grad():
        stream = seeds.torch_stream(context.seed, purpose, "level")
        z_ND = generator.draw(LEVEL_DRAWS, stream).to(device)
        level = torch.cat([generator.critic(generator(z)) for z in z_ND.split(CHUNK)]).mean()
    z_ND = torch.cat(draws).to(device)
    chunks = zip(z_ND.split(CHUNK), class_N.split(CHUNK), strict=True)
    return torch.cat([_search(settings, generator, level, model, z, y) for z, y in chunks])


def _search(
    settings: GanFakeSamplesSettings,
    generator: GenerativePrior,
    level: Tensor,
    model: ScoringModel,
    z_ND: Tensor,
    class_N: Tensor,
) -> Tensor:
    """Search from latents `z_ND` for a picture of each class; `level` is the critic's mean."""
    z_ND = z_ND.clone().requires_grad_(True)
    best_ND, least_N = z_ND.detach().clone(), torch.full_like(z_ND[:, 0], torch.inf)
    optimizer = torch.optim.Adam([z_ND], lr=settings.rate)
    for _ in range(settings.steps):
        x_NCHW = generator(z_ND)
        identity_N = functional.nll_loss(model.log_scores(x_NCHW), class_N, reduction="none")
        better_N = identity_N.detach() < least_N
        best_ND[better_N] = z_ND.detach()[better_N]
        least_N[better_N] = identity_N.detach()[better_N]
        reality_N = functional.softplus(level - generator.critic(x_NCHW))
        # Summed: a sample's gradient does not depend on the other samples.
        loss = (reality_N + settings.lambda_identity * identity_N).sum()
        (z_ND.grad,) = torch.autograd.grad(loss, z_ND)
        optimizer.step()
    with torch.no_grad():
        return to_bytes(generator(best_ND))
