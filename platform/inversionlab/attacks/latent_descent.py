"""What A2 and A3 share: descent in a generator's latent space, with gradients or with estimates of them."""

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from inversionlab.attacks.base import Attack
from inversionlab.attacks.descent import Objective, Search, descend
from inversionlab.attacks.jobs import AttackJobs
from inversionlab.attacks.updates import AdaptiveStep, LimitedStep
from inversionlab.core.settings import Settings
from inversionlab.core.views import View


class LatentDescentSettings(Settings):
    """The settings of these attacks in addition to those of every attack."""

    published: ClassVar[dict[str, Any]] = {
        "pool": 0,
        "update": "limited",
        "step_length": 0.1,
        "patience": None,
    }
    later: ClassVar[dict[str, Any]] = {"pool": 0, "update": "limited", "patience": None}

    steps: int = Field(default=300, ge=1, le=100_000)
    """Maximum number of updates."""
    stop: float = Field(default=0.99, gt=0, lt=1)
    """A reconstruction is finished when the target's score exceeds this."""
    pool: int = Field(default=512, ge=0, le=1_000_000)
    """Public pictures that the model is asked about once, as starts for all targets; 0: see `seed_pictures`."""
    seed_pictures: int = Field(default=16, ge=1, le=4096)
    """Without a pool: public pictures whose mean encoding is the start."""
    update: Literal["adaptive", "limited"] = "adaptive"
    """Whether steps have an adaptive length or a limited one."""
    step_length: float = Field(default=0.8, gt=0, le=100)
    """Length of the first adaptive step, in latent units. Every limited step has this length too, unless the
    gradient is tiny."""
    max_rate: float = Field(default=100.0, gt=0, le=1e6)
    """Upper bound of the factor that multiplies the gradient in a limited step."""
    patience: int | None = Field(default=20, ge=1, le=100_000)
    """A descent ends when its score has not grown by 1 % for this many updates; null: never."""


def descend_latents(
    attack: Attack, view: View, jobs: AttackJobs, objective: Objective, pictures: int = 1
) -> Search:
    """Descend for all jobs as `attack.settings` say; a row sends `pictures` through the networks at a step."""
    options = attack.settings

    def start(row_L: Tensor) -> Tensor:
        entering = jobs.take(row_L)
        if options.pool:
            return attack.pool(view).starts(entering)[0]
        return attack.context.first_latents(options.name, entering, options.seed_pictures)

    adaptive = options.update == "adaptive"
    return descend(
        attack,
        jobs.rows_N,
        start,
        objective,
        AdaptiveStep(options.step_length)
        if adaptive
        else LimitedStep(options.step_length, options.max_rate),
        stop=options.stop,
        steps=options.steps,
        patience=options.patience,
        pictures=pictures,
    )
