"""Gray-box pixel-space attack from a GAN's face: `pixel_gray_box` (A1) with another start.

Paper:   Khosravy et al. 2021, [26] in table 1: "generating and implementing optimum seed image by pre-trained GAN
         for initialization of MIA"; the descent is that of §3 and §4.4 of the same authors.
Access:  the model's structure and weights (`WhiteBox`), no data of any user.
Solves:  x* = argmin_x L(R(x), y^), as `pixel_gray_box`: eq. 6 and 7, the losses and the stop are there.
Start:   of `pool` faces of the attacker's generator the one of highest target score, the seed that the network
         itself prefers; repeat r takes the one of rank r. They are draws from the prior, or encoded and decoded
         public pictures where it has an encoder. The model is asked about them once for all targets.
Ranges:  pixels are clipped to [0, 1] after every update.
Deviates: [26] is not at hand; that "optimum" means the highest target score is our reading. In the default loss.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.pixel_gray_box import PixelDescentSettings, descend_pixels
from inversionlab.attacks.pool import Pool
from inversionlab.core.views import View, WhiteBox


class PixelGanSeedSettings(PixelDescentSettings, AttackSettings):
    """Settings of the pixel attack that starts from a GAN's face."""

    published: ClassVar[dict[str, Any]] = PixelDescentSettings.published

    name: Literal["pixel_gan_seed"] = "pixel_gan_seed"
    pool: int = Field(default=256, ge=1, le=1_000_000)
    """Faces of the generator that the model is asked about once, as starts for all targets. With more repeats than
    faces, the starts repeat, and so do the clones."""


class PixelGanSeed(Attack):
    """Gradient descent over pixels, from a face of the generator."""

    Settings = PixelGanSeedSettings
    usual_seconds = 0.1
    view = WhiteBox
    needs_generator = True

    @classmethod
    def most_queries(cls, settings: PixelGanSeedSettings, latent_size: int) -> int:
        """One query a step, and one at the end."""
        return settings.steps + 1

    def ask_pool(self, view: View) -> Pool:
        """Ask the model about the seeds; all are kept in order, so that every clone has a start of its own."""
        return Pool.ask(view, *self.search_space(), ranks=self.settings.pool)

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Descend for all jobs at once."""
        white_box = self.require(view, WhiteBox)

        def start(row_L: Tensor) -> Tensor:
            return self.generator(self.pool(white_box).starts(jobs.take(row_L))[0]).detach()

        return descend_pixels(self, white_box, jobs, start)
