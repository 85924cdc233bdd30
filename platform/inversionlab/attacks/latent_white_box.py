"""Generator-latent white-box attack (A2): gradient descent in the latent space of a face generator.

Paper:   Khosravy et al. 2022, as described in Kotsuji & Nakamura 2025 §3 and Yoshimura et al. 2021 §IV-A.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  z* = argmin_z CE(R(G(z)), y^)                                   (Yoshimura eq. 6)
Step:    z <- z - a g / |g|,  g = dCE/dz; a grows while successive gradients agree, and shrinks where they do not.
         As published (`update: limited`): z <- z - min(100, 0.1 / |g|) g  (eq. 7; §V-A.3).
Start:   of `pool` encoded public pictures the one of highest target score; repeat r takes the one of rank r. As
         published (`pool: 0`): the mean encoding of 16 random public pictures. Draws from N(0, I) stand in for
         encodings where the generator has no encoder.
Stop:    p_target > 0.99 (§IV-A); or no progress for `patience` updates; or `steps` updates (the papers: neither).
Ranges:  pictures in [0, 1]; z is unbounded.
Result:  the z of highest target score on the way; for a row that meets the criterion, that is its last z.
Deviates: in start and step, unless `as_published: true` says otherwise.
"""

from typing import Any, ClassVar, Literal

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import white_box_objective
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.latent_descent import LatentDescentSettings, descend_latents
from inversionlab.attacks.lomma import AugmentableSettings, AugmentedAttack
from inversionlab.core.views import View, WhiteBox


class LatentWhiteBoxSettings(LatentDescentSettings, AugmentableSettings, AttackSettings):
    """Settings of the generator-latent white-box attack."""

    later: ClassVar[dict[str, Any]] = {**LatentDescentSettings.later, **AugmentableSettings.later}

    name: Literal["latent_white_box"] = "latent_white_box"


class LatentWhiteBox(AugmentedAttack, Attack):
    """Gradient descent over the generator's latent vector."""

    Settings = LatentWhiteBoxSettings
    usual_seconds = 0.2
    view = WhiteBox
    needs_generator = True

    @classmethod
    def most_queries(cls, settings: LatentWhiteBoxSettings, latent_size: int) -> int:
        """One query a step, and one at the end; with `lomma` one more for the result."""
        return settings.steps + 1 + (settings.lomma is not None)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs."""
        white_box = self.require(view, WhiteBox)
        objective = white_box_objective(self, white_box, jobs, decode=self.generator)
        end = descend_latents(self, white_box, jobs, objective)
        return self.finished(white_box, jobs, end, self.generator)
