"""`inversionlab.invert`: one attack on a model at hand, in this process, without Ray and without files."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inversionlab.api.attackers import Attacker
from inversionlab.api.inverted import Inverted
from inversionlab.api.pictures import public_pictures
from inversionlab.api.prior import OwnPrior
from inversionlab.api.victim import compiled_victim, victim_of
from inversionlab.attacks import ATTACKS, Attack, AttackSettings
from inversionlab.core.images import to_bytes, to_float
from inversionlab.core.seeds import torch_stream
from inversionlab.core.settings import ConfigError, validate
from inversionlab.core.views import Labels, Scores, View, WhiteBox, shows, view_word
from inversionlab.generators import GeneratorSettings
from inversionlab.pipeline.attack import Attacked, make_attack, run_attack
from inversionlab.pipeline.batch_invariant import BatchInvariantModel

EXAMPLES = 8
"""Public pictures on which the model is tried."""
DRAWN = 64
"""Pictures of the generator that stand for public ones where none are given."""


def invert(
    model: Any,
    targets: int | Iterable[int],
    attack: str | Mapping[str, Any] | AttackSettings = "mirror",
    *,
    generator: Any = None,
    public: Tensor | Any | str | Path | None = None,
    latent_size: int | None = None,
    image_size: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    preprocessing: Mapping[str, Any] | None = None,
    answers: str = "auto",
    classes: int | None = None,
    device: str | torch.device | None = None,
    batch: int = 64,
    say: Callable[[str], None] | None = print,
) -> Inverted:
    """Reconstruct what the people behind some classes look like to a model.

    For an equal seed, the same public pictures and the same settings, the pictures are those of an audit. Nothing
    of the caller's is modified: modules are copied, and PyTorch's random state is put back.

    Args:
        model: a `torch.nn.Module` that answers with scores or labels, a function that does (its gradients are not
            used), or anything with `log_scores` and `classes`.
        targets: the classes to reconstruct.
        attack: its name, or its settings as in a recipe.
        generator: what the attack searches. A name such as "vae", or settings as in a recipe: it is trained on
            `public` first. A module, or any object that satisfies `GenerativePrior`: it is used as it is. None:
            the kind that suits the attack is trained.
        public: pictures of other people: a tensor (N, C, S, S) or an array (N, C, S, S) or (N, S, S, C), as uint8
            or as floats in [0, 1]; or a folder with one folder for each person. None: pictures that a given
            generator makes.
        latent_size: the length of a latent, for a generator that does not say it itself.
        image_size: S of the pictures of a folder; None: that of a given generator's pictures, or 64.
        repeats: reconstructions of each class, from different random starts.
        seed: of all random numbers.
        preprocessing: what the model expects of a picture, as in a recipe; the attack works on [0, 1].
        answers: what the model answers; "auto": as its answers show.
        classes: the number of classes of a model that answers with labels.
        device: where to compute; None: where the model is.
        batch: reconstructions at once, which bounds the memory.
        say: gets lines about the progress; None: nobody does.

    Raises:
        ConfigError: something does not fit together.
        AttackError: the model answered with a score that is not a number.
        TrainingError: a network of the attacker's cannot be trained.
    """
    where = _device(model, device)
    settings = _attack_settings(attack)
    kind = ATTACKS[settings.name]
    own = None
    if generator is not None and not isinstance(generator, str | Mapping | GeneratorSettings):
        own = OwnPrior(generator, latent_size, where)
    public_NCHW = _public(public, own, image_size, seed)
    x_NCHW = to_float(public_NCHW[:EXAMPLES], where)
    victim, most = victim_of(
        model,
        torch.cat([torch.full_like(x_NCHW[:1], 0.5), x_NCHW]),
        preprocessing=preprocessing,
        answers=answers,
        classes=classes,
    )
    _check_view(kind, settings, most)
    wanted = _targets(targets, victim.classes)
    for name, number in (("repeats", repeats), ("batch", batch)):
        if number < 1:
            raise ConfigError(f"{name} = {number}: should be 1 or more")
    jobs = [(target, repeat) for target in wanted for repeat in range(repeats)]
    protected = BatchInvariantModel(victim)
    # Trainings learn from the model as it is.
    attacked = BatchInvariantModel(compiled_victim(victim))
    told = say or (lambda line: None)
    # Trainings draw from PyTorch's own stream.
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        attacker = Attacker(protected, public_NCHW, seed, where, told)
        context = attacker.context(kind, settings, generator if own is None else own)
        ready, parts, began = make_attack(settings, context), list[Attacked](), time.monotonic()
        for start in range(0, len(jobs), batch):
            parts.append(run_attack(ready, attacked, jobs[start : start + batch]))
            told(f"[attack] {settings.title}: {min(start + batch, len(jobs))}/{len(jobs)}")
    found = [part.result for part in parts]
    return Inverted(
        images=torch.cat([part.images_NCHW for part in found]).detach().float().cpu(),
        target=torch.tensor([target for target, _ in jobs]),
        repeat=torch.tensor([repeat for _, repeat in jobs]),
        confidence=torch.cat([part.confidence_N for part in found]).detach().float().cpu(),
        converged=torch.cat([part.converged_N for part in found]).cpu(),
        queries=torch.cat([part.queries_N for part in parts]).cpu(),
        steps=torch.cat([part.steps_N for part in found]).cpu(),
        attack=settings.title,
        seconds=time.monotonic() - began,
        training_queries=attacker.training_queries + ready.shared_queries,
    )


def _device(model: Any, device: str | torch.device | None) -> torch.device:
    """The device that is named, or the model's own, or the CPU."""
    if device is not None:
        return torch.device(device)
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


def _attack_settings(attack: str | Mapping[str, Any] | AttackSettings) -> AttackSettings:
    """The settings of an attack that needs nothing but a class to invert."""
    settings = attack
    if not isinstance(settings, AttackSettings):
        data = {"name": attack} if isinstance(attack, str) else dict(settings)  # type: ignore[arg-type]
        if data.get("name") not in ATTACKS:
            raise ConfigError(
                f"attack = {data.get('name')}: unknown name; there are: {', '.join(ATTACKS)}"
            )
        settings = validate(ATTACKS[data["name"]].Settings, data, origin="attack")
    if ATTACKS[settings.name].inverts_outputs_at(settings):
        raise ConfigError(
            f"attack = {settings.name}: inverts answers to private pictures; use `inversionlab.audit`, which has "
            "them"
        )
    if settings.generator is not None:
        raise ConfigError(
            f"attack.generator = {settings.generator}: names a generator of a recipe; give it as `generator`"
        )
    return settings


def _public(public: Any, own: OwnPrior | None, image_size: int | None, seed: int) -> Tensor:
    """The public pictures as uint8 (N, C, S, S), as large as those of a generator at hand."""
    if public is None:
        if own is None:
            raise ConfigError("public: is missing; an attacker needs pictures of other people")
        with torch.no_grad():
            z_ND = own.draw(DRAWN, torch_stream(seed, "public"))
            return to_bytes(own(z_ND.to(own.device)))
    size = image_size or (64 if own is None else own.image_size)
    x_NCHW = public_pictures(
        public, image_size=size, channels=None if own is None else own.channels
    )
    shape = tuple(x_NCHW.shape[1:])
    if own is not None and shape != (own.channels, own.image_size, own.image_size):
        raise ConfigError(
            f"public: its pictures are {shape}, but those of the generator are "
            f"{(own.channels, own.image_size, own.image_size)}; make them equal"
        )
    return x_NCHW


def _check_view(kind: type[Attack], settings: AttackSettings, most: type[View]) -> None:
    view = kind.view_at(settings)
    if view is None or shows(most, view):
        return
    able = []
    for name, other in ATTACKS.items():
        other_view = other.view_at(other.Settings(name=name))
        if other_view is not None and shows(most, other_view):
            able.append(name)
    scores = most is not Labels and "gradients" in type(settings).model_fields
    hint = " set its `gradients` to False, or" if scores and view is WhiteBox else ""
    what = "no gradients" if most is Scores else "labels alone"
    raise ConfigError(
        f"attack = {settings.name}: needs the model's {view_word(view)} view, but this model gives {what};{hint} "
        f"use one of: {', '.join(able)}"
    )


def _targets(targets: int | Iterable[int], classes: int) -> list[int]:
    """The class numbers, each checked."""
    wanted = [targets] if isinstance(targets, int) else [int(target) for target in targets]
    wrong = [target for target in wanted if not 0 <= target < classes]
    if wrong or not wanted:
        shown = f"{wrong[0]}: is not a class" if wrong else "[]: names no class"
        raise ConfigError(f"targets = {shown}; the model's classes are 0 to {classes - 1}")
    return wanted
