"""KED-MI (A6, called DMI by Gong et al.): recovers a distribution of latents for the target, then draws from it.

Paper:   Chen et al. 2021, "Knowledge-Enriched Distributional Model Inversion Attacks". Its other half, the
         inversion-specific GAN, is the generator `ked_gan`.
Access:  white box (`WhiteBox`): scores with gradients.
Solves:  min over mu, v of E_e[L_prior(G(z)) + lambda L_id(G(z))],  z = mu + exp(v / 2) e,  e ~ N(0, I),
         L_prior = -log sigmoid(D(x)), D(x) the generator's critic (the logit of "real"),
         L_id = CE(R(x), y^),  lambda = 100   (the authors' code)
Step:    Adam on mu and v.
Start:   mu = 0, v = `log_variance`.
Stop:    p_target > `stop` for the draws of `calm` steps in a row, or `steps` updates.
Result:  of `draws` pictures drawn from N(mu, exp(v)) the one of highest target score.
Ranges:  pictures in [0, 1]; mu and v are unbounded.
Deviates: the authors run 1,500 to 2,400 updates with rate 0.02 from v = 1, without a stop, recover one
         distribution a target, and count its 5 draws as 5 attacks. Here every reconstruction recovers its own
         distribution with its own noise, because rows must share neither work nor queries, and its draws compete
         by the model's own score. A narrower start and a larger rate save most of the updates.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from inversionlab.attacks.base import Attack, AttackSettings
from inversionlab.attacks.descent import ForwardPass, Objective, descend, white_box_objective
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.lomma import AugmentableSettings, AugmentedAttack
from inversionlab.attacks.updates import Adam
from inversionlab.core.views import View, WhiteBox

PASS = 256
"""Pictures at once when the recovered distributions are drawn from."""


class KedMiSettings(AugmentableSettings, AttackSettings):
    """Settings of the distributional recovery."""

    name: Literal["ked_mi"] = "ked_mi"
    identity_weight: float = Field(default=100.0, gt=0, le=1e6)
    """lambda, the weight of the target's cross-entropy relative to the critic's loss."""
    rate: float = Field(default=0.05, gt=0, le=10)
    """Adam's step size."""
    log_variance: float = Field(default=-1.0, ge=-20, le=5)
    """v at the start, the same in every coordinate (the authors' code: 1)."""
    samples: int = Field(default=1, ge=1, le=64)
    """Pictures drawn from each distribution at every step; their losses are summed."""
    steps: int = Field(default=150, ge=1, le=100_000)
    """Maximum number of updates."""
    stop: float = Field(default=0.9999, gt=0, lt=1)
    """A step is good when the target's score of each of its draws exceeds this."""
    calm: int = Field(default=5, ge=1, le=1000)
    """A distribution is recovered after this many good steps in a row."""
    draws: int = Field(default=5, ge=1, le=1000)
    """Pictures drawn from the recovered distribution; the one with the highest target score is kept."""


class KedMi(AugmentedAttack, Attack):
    """Distributional recovery: mean and spread of the latent by the reparameterisation trick."""

    Settings = KedMiSettings
    usual_seconds = 2.0
    view = WhiteBox
    needs_generator = True
    wants = frozenset({"critic", "classes"})

    @classmethod
    def most_queries(cls, settings: KedMiSettings, latent_size: int) -> int:
        """The samples of every step, and the draws at the end."""
        return settings.samples * (settings.steps + 1) + settings.draws

    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Recover all distributions at once, then draw from them."""
        options, size = self.settings, self.generator.latent_size
        white_box = self.require(view, WhiteBox)
        streams = self.context.streams("ked_mi", jobs)

        def start(row_L: Tensor) -> Tensor:
            start_L2D = torch.zeros(len(row_L), 2, size, device=self.context.device)
            start_L2D[:, 1] = options.log_variance
            return start_L2D

        end = descend(
            self,
            jobs.rows_N,
            start,
            self._objective(white_box, jobs, streams),
            Adam(options.rate),
            stop=options.stop,
            steps=options.steps,
            calm=options.calm,
            pictures=options.samples,
        )
        images, log_p_N = self._best_draws(white_box, jobs, end.best, streams)
        return AttackResult(images, log_p_N.exp(), end.converged_N, end.steps_N)

    def _objective(
        self, view: WhiteBox, jobs: AttackJobs, streams: list[torch.Generator]
    ) -> Objective:
        """The objective over distributions (N, 2, m): mean and log-variance of every latent coordinate."""
        count = self.settings.samples
        of_latents = white_box_objective(self, view, jobs.times(count), self.generator, self._loss)

        def objective(point_N2D: Tensor, rows_N: Tensor, step_N: Tensor) -> tuple[Tensor, Tensor]:
            noise_NSD = self._noise(streams, rows_N, count)
            log_p_N, slope_ND = of_latents(
                latents(point_N2D, noise_NSD).flatten(0, 1),
                several(rows_N, count),
                step_N.repeat_interleave(count),
            )
            slope_N2D = carried_back(point_N2D, noise_NSD, slope_ND.view_as(noise_NSD))
            return log_p_N.view(-1, count).amin(dim=1), slope_N2D

        return objective

    def _loss(self, seen: ForwardPass) -> Tensor:
        prior = functional.softplus(-self.generator.critic(seen.x_NCHW)).sum()
        total: Tensor = prior + self.settings.identity_weight * seen.loss_N.sum()
        return total

    def _noise(self, streams: list[torch.Generator], rows_N: Tensor, count: int) -> Tensor:
        """The next `count` draws e (N, count, m) of each row's own stream."""
        size = (count, self.generator.latent_size)
        drawn = [torch.randn(size, generator=streams[row]) for row in rows_N.tolist()]
        return torch.stack(drawn).to(self.context.device)

    @torch.no_grad()
    def _best_draws(
        self, view: WhiteBox, jobs: AttackJobs, point_N2D: Tensor, streams: list[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """Of each row's `draws` pictures the one of highest target score, and its log-score."""
        count, rows_N = self.settings.draws, torch.arange(len(jobs), device=point_N2D.device)
        z_ND = latents(point_N2D, self._noise(streams, rows_N, count)).flatten(0, 1)
        account_N = rows_N.repeat_interleave(count)
        parts, merits = [], []
        for z_BD, account_B in zip(z_ND.split(PASS), account_N.split(PASS), strict=True):
            x_BCHW, target_B = self.generator(z_BD), jobs.target_N[account_B]
            log_y_BK = view.log_scores(x_BCHW, account_B)
            parts.append(self.target_scores(log_y_BK, target_B))
            merits.append(self.merit(x_BCHW, log_y_BK, target_B))
        log_p_N = torch.cat(parts)
        best_N = rows_N * count + torch.cat(merits).view(-1, count).argmax(dim=1)
        images = torch.cat([self.generator(z_BD) for z_BD in z_ND[best_N].split(PASS)])
        return images, log_p_N[best_N]


def several(rows_N: Tensor, count: int) -> Tensor:
    """The numbers of these rows' `count` rows each after `AttackJobs.times(count)`."""
    within_S = torch.arange(count, device=rows_N.device)
    return (rows_N[:, None] * count + within_S).flatten()


def latents(point_N2D: Tensor, noise_NSD: Tensor) -> Tensor:
    """z = mu + exp(v / 2) e (N, S, m), for distributions (N, 2, m) of (mu, v)."""
    return point_N2D[:, :1] + (point_N2D[:, 1:] / 2).exp() * noise_NSD


def carried_back(point_N2D: Tensor, noise_NSD: Tensor, slope_NSD: Tensor) -> Tensor:
    """The gradient in (mu, v), given that in z: dL/dmu = sum dL/dz, dL/dv = sum dL/dz e exp(v / 2) / 2."""
    spread_ND = (point_N2D[:, 1] / 2).exp() / 2
    return torch.stack(
        [slope_NSD.sum(dim=1), (slope_NSD * noise_NSD).sum(dim=1) * spread_ND], dim=1
    )
