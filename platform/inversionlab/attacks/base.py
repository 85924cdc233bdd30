"""The contract of every attack, and the base of its settings."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self, TypeVar

import torch
from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor, nn

from inversionlab.attacks.context import AttackerContext
from inversionlab.attacks.jobs import AttackJobs, AttackResult
from inversionlab.attacks.pool import Pool, candidates
from inversionlab.core.contracts import GenerativePrior, ModelShape, ScoringModel
from inversionlab.core.learner import Learner, TrainingSettings
from inversionlab.core.settings import NAMING, Settings
from inversionlab.core.views import Scores, View

ViewT = TypeVar("ViewT", bound=View)


class AttackError(RuntimeError):
    """An attack cannot go on; the text names the attack and the target."""


class AttackSettings(Settings):
    """Base of an attack's settings; each attack's own class adds a literal `name`.

    Three keys mean the same in every attack that has them, and `Attack` reads them: `truncate` (how many of the
    largest scores the attacker sees; null: all), `invert` (`class` or `output`: what is inverted) and `taught_by`
    (`protected` or `victim`: whose answers the attack's own network learns from).
    """

    name: str
    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    """The attack's name in tables; null: `name`. Needed where a recipe has one attack twice."""
    generator: str | None = None
    """Which of the recipe's `generators` it searches; null: the recipe's `generator` if that has what the attack
    needs, else the first of `generators` that has it."""

    as_published: bool = Field(default=False, exclude=True)
    """Whether settings that are left out take the values of the attack's paper or code, where those differ."""
    published: ClassVar[dict[str, Any]] = {}
    """These values; the card says what cannot be set."""

    @model_validator(mode="after")
    def _take_published(self) -> Self:
        if self.as_published:
            # The model is frozen for everybody else. A validator of the raw input would need to know its form.
            left_out = self.published.keys() - self.model_fields_set
            self.__dict__.update({key: self.published[key] for key in left_out})
        return self

    later: ClassVar[dict[str, Any]] = {}
    """Settings that came later than stored reconstructions, with the values that mean what was done before."""

    @model_serializer(mode="wrap")
    def _named(self, plain: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        values = plain(self)
        if info.context == NAMING:
            return {k: v for k, v in values.items() if k not in self.later or v != self.later[k]}
        return values

    @property
    def title(self) -> str:
        """The attack's name in tables."""
        return self.label or self.name


class Attack(ABC):
    """One model inversion attack: a subclass states the facts below and implements `run`.

    One that `trains` a network of its own also implements `learner`. The other methods have defaults.
    """

    Settings: ClassVar[type[AttackSettings]]
    """The class of its settings."""
    view: ClassVar[type[View] | None]
    """The view of the model that it needs; None for a null attack, which asks the model nothing."""
    usual_seconds: ClassVar[float] = 1.0
    """What a try took on LFW (docs/attacks.md); it serves estimates before the first one is done."""
    floor: ClassVar[bool] = False
    """Whether it inverts nothing although it asks the model: what it finds, every attack must beat."""
    knows_defense: ClassVar[bool] = False
    """Whether its attacker knows which defense is in use and aims at it."""
    needs_generator: ClassVar[bool] = False
    """Whether it searches a generator."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """What that generator must offer, out of `encoder`, `critic`, `style`, `classes` and `conditional`."""
    trains: ClassVar[bool] = False
    """Whether it trains a network of its own on public pictures and the scores that a model gives them."""
    network_kind: ClassVar[str] = ""
    """The name of that network; attacks with the same name and equal settings share one network."""

    def __init__(self, settings: Any, context: AttackerContext) -> None:
        """Make the attack ready to run; ValueError if `context` lacks a generator or network that it needs."""
        if self.needs_generator and context.generator is None:
            raise ValueError(f"attack `{settings.name}` needs a generator, and none was given")
        if self.trains_at(settings) and context.network is None:
            raise ValueError(f"attack `{settings.name}` needs its trained network; none was given")
        self.settings = settings
        self.context = context
        self.shared_queries = 0
        """Pictures that were sent to the model for all rows together."""
        self._pool: Pool | None = None

    @abstractmethod
    def run(self, view: View | None, jobs: AttackJobs) -> AttackResult:
        """Reconstruct the target of every job.

        Rows must not influence each other: losses are summed over rows, and random numbers come from
        `context.stream(name, target, repeat)`. `view` is what `open` returned for `len(jobs)` rows, or None for a
        null attack; `jobs` are on the device.

        Raises:
            AttackError: the model answered with a score that is not a number.
            TypeError: the view is not the one that the attack needs.
        """

    def open(self, model: ScoringModel, rows: int) -> View:
        """The view of `model` that this attack gets, for `rows` reconstructions at once."""
        view = self.view_at(self.settings)
        assert view is not None, "a null attack has no view"
        if view is Scores:
            return Scores(model, rows, self.training_top(self.settings))
        return view(model, rows)

    def pool(self, view: View) -> Pool:
        """The starts that all targets choose from, `settings.pool` of them; the model is asked about them once."""
        if self._pool is None:
            before = view.shared_queries
            self._pool = self.ask_pool(view)
            self.shared_queries += view.shared_queries - before
        return self._pool

    def ask_pool(self, view: View) -> Pool:
        """Ask the model about the search space."""
        return Pool.ask(view, *self.search_space())

    def search_space(self) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The points of the pool, and what makes pictures of such points; by default latents and the generator."""
        z_PD = candidates(self.settings.name, self.context, self.settings.pool)
        return z_PD, self.generator

    @property
    def generator(self) -> GenerativePrior:
        """The attacker's generator, for an attack that needs one."""
        return self.context.prior

    def require(self, view: View | None, kind: type[ViewT]) -> ViewT:
        """`view`, typed as the kind that the attack needs; TypeError if it is of another kind."""
        if not isinstance(view, kind):
            name, got = self.settings.name, type(view).__name__
            raise TypeError(f"`{name}` needs a {kind.__name__} view, got {got}")
        return view

    def target_scores(self, y_NK: Tensor, target_N: Tensor) -> Tensor:
        """The score or log-score (N,) of each row's target, out of all (N, K); AttackError as `refuse_nan`."""
        score_N = y_NK.gather(1, target_N[:, None]).squeeze(1)
        self.refuse_nan(score_N, target_N)
        return score_N

    def judge(
        self, x_NCHW: Tensor, log_y_NK: Tensor, target_N: Tensor, step_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The identity loss (N,) of pictures with these log-scores at each row's step, and how good they are (N,).

        By default both are the target's log-score, the loss with its sign changed. The best point of a search is
        that of the highest merit. Raises AttackError as `refuse_nan`.
        """
        log_p_N = self.target_scores(log_y_NK, target_N)
        return -log_p_N, log_p_N

    def label_hits(self, label_N: Tensor, target_N: Tensor) -> Tensor:
        """Whether each label (N,) is the row's target; AttackError as `refuse_nan`, as a negative label says."""
        self.refuse_nan(torch.where(label_N < 0, torch.nan, 0.0), target_N)
        return label_N == target_N

    def refuse_nan(self, score_N: Tensor, target_N: Tensor) -> None:
        """Raise AttackError if a score (N,) or log-score is not a number, naming the first such target."""
        bad = score_N.isnan()
        if bool(bad.any()):
            target = int(target_N[bad.nonzero()[0, 0]])
            raise AttackError(
                f"attack `{self.settings.name}`: the model's score of target {target} is not a number"
            )

    @property
    def inverts_outputs(self) -> bool:
        """Whether it inverts outputs at its own settings."""
        return self.inverts_outputs_at(self.settings)

    @classmethod
    def inverts_outputs_at(cls, settings: Any) -> bool:
        """Whether it inverts the model's answers to private pictures (`Scores.observed_NK`), not classes."""
        return getattr(settings, "invert", "class") == "output"

    @classmethod
    def view_at(cls, settings: Any) -> type[View] | None:
        """The view that it needs at these settings."""
        return cls.view

    @classmethod
    def most_queries(cls, settings: Any, latent_size: int) -> int:
        """The most queries of one reconstruction at these settings, with a generator of this latent length.

        Fewer are made where it converges, or where there are fewer public pictures than it would ask about.
        """
        if cls.view is None:
            return 0
        raise NotImplementedError(f"{cls.__name__} does not say how many queries it makes")

    @classmethod
    def pool_size(cls, settings: Any) -> int:
        """The queries about starts that serve all targets."""
        size: int = getattr(settings, "pool", 0)
        return size

    @classmethod
    def trains_at(cls, settings: Any) -> bool:
        """Whether it trains a network of its own at these settings."""
        return cls.trains

    @classmethod
    def network_part(cls, settings: Any) -> dict[str, Any]:
        """The settings that its own network depends on, as plain JSON values."""
        return {k: v for k, v in settings.trained_part().items() if k != "name"}

    @classmethod
    def training(cls, settings: Any) -> TrainingSettings:
        """How its own network is trained."""
        training: TrainingSettings = settings.training
        return training

    @classmethod
    def training_queries(cls, settings: Any, public_pictures: int) -> int:
        """The queries that its own network's training takes, all of them before the first reconstruction."""
        return public_pictures if cls.trains_at(settings) else 0

    @classmethod  # noqa: B027 (most have nothing to refuse)
    def check(cls, settings: Any, latent_size: int) -> None:
        """Raise ValueError if settings do not fit latents of this length; called before anything is trained."""

    @classmethod
    def teacher(cls, settings: Any) -> Literal["protected", "victim"]:
        """Whose scores its own network learns from: the model under attack, or the undefended victim."""
        return "victim" if getattr(settings, "taught_by", "protected") == "victim" else "protected"

    @classmethod
    def training_top(cls, settings: Any) -> int | None:
        """How many of the largest scores it sees, in training as in the attack; None: all."""
        top: int | None = getattr(settings, "truncate", None)
        return top

    @classmethod
    def learner(cls, settings: Any, shape: ModelShape, seed: int) -> Learner:
        """Its own network in training, where it `trains` one; ConfigError if the settings do not fit the shape.

        The `y_N` of its `step` are scores (N, K).
        """
        raise NotImplementedError(f"{cls.__name__} trains no network")

    @classmethod
    def build(cls, settings: Any, shape: ModelShape) -> nn.Module:
        """Its own network, untrained; raises as `learner` does."""
        return cls.learner(settings, shape, seed=0).product()
