"""Checks that an experiment's sections fit together. Each fault is one line: the key, and what would be right."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from inversionlab.core.learner import TrainingSettings
from inversionlab.data.split_settings import EVERYBODY
from inversionlab.defenses import DEFENSES
from inversionlab.defenses.composition import aims, chain, faults
from inversionlab.experiment.given_checks import given_faults
from inversionlab.experiment.references import attacker_generator, defender_generator, defense_at
from inversionlab.experiment.sections import ExperimentSections
from inversionlab.generators import GENERATORS
from inversionlab.recognizers import RecognizerSettings

MOST_CELLS = 20_000
"""Attacks on models in one plan, which takes 0.2 ms for each; the largest recipe that comes along has 154."""
_RESERVED = {"none", "undefended"}
"""Names of the undefended victim in the tables."""


def all_faults(experiment: ExperimentSections) -> list[str]:
    """All faults of an experiment; those of a sweep's values only if there are no others."""
    if too_many := _cell_faults(experiment):
        return too_many
    wrong = [
        *_name_faults(experiment),
        *_seed_faults(experiment),
        *given_faults(experiment),
        *_split_faults(experiment),
        *_evaluator_faults(experiment),
        *_defense_faults(experiment),
        *_generator_faults(experiment),
        *_batch_faults(experiment),
    ]
    sweep = experiment.sweep
    if not wrong and sweep is not None:
        for value in sweep.values:
            inside = [*faults(defense_at(experiment, value), "defense")]
            if inside:
                wrong.append(f"sweep of {sweep.setting} at {value}: {'; '.join(inside)}")
    return wrong


def _cell_faults(experiment: ExperimentSections) -> list[str]:
    """Whether there are more attacks on models than a plan can hold."""
    sweep = experiment.sweep
    values = len(sweep.values) if sweep else 0
    models = 2 + len(experiment.defenses) + values
    if experiment.protect == "each":
        aimed = sum(map(aims, experiment.defenses)) + (1 + values) * aims(experiment.defense)
        models += aimed * (experiment.targets.count - 1)
    attacks, victims = len(experiment.attacks), len(experiment.victim_seeds)
    if (cells := attacks * models * victims) <= MOST_CELLS:
        return []
    return [
        f"{attacks} attacks on {models} models of {victims} victims are {cells:,} cells, but a plan holds at most "
        f"{MOST_CELLS:,}; leave out some `attacks`, `defenses`, `sweep.values` or `seeds`"
    ]


def _name_faults(experiment: ExperimentSections) -> Iterable[str]:
    for what, names in (
        ("attacks", [a.title for a in experiment.attacks]),
        ("evaluators", [e.name for e in experiment.evaluators]),
        ("defenses", [d.title for _, d in experiment.every_defense()]),
    ):
        # Some file systems, and some readers, do not tell capitals apart.
        folded = [n.casefold() for n in names]
        twice = sorted({n for n in names if folded.count(n.casefold()) > 1})
        if twice:
            hint = " (two of a kind need a `label`)" if what != "evaluators" else ""
            yield f"{what}: `{twice[0]}` appears twice; give every name once{hint}"
    for key, defense in experiment.every_defense():
        for part in chain(defense):
            label = (part.label or "").casefold()
            if label != part.name and label in _RESERVED | DEFENSES.keys():
                yield f"{key}: label = {part.label}: is another model's name in the tables; give another one"


def _seed_faults(experiment: ExperimentSections) -> Iterable[str]:
    seeds = experiment.seeds
    if seeds is None:
        return
    if not isinstance(experiment.victim, RecognizerSettings):
        yield (
            "seeds: are for victims that are trained here, but the given model exists only once; leave them out, "
            "or train the victim here (victim.network)"
        )
    for index, seed in enumerate(seeds):
        if not 0 <= seed < 2**63:
            yield f"seeds.{index} = {seed}: a seed is a whole number from 0 to {2**63 - 1}"
    twice = [seed for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
    if twice:
        yield f"seeds: {twice[0]} appears twice; give every seed once"


def _split_faults(experiment: ExperimentSections) -> Iterable[str]:
    named = experiment.split.public
    # Whom a given model knows and whom not is told by split.public, wherever the attacker's people come from.
    trained = isinstance(experiment.victim, RecognizerSettings)
    if trained and experiment.public_data is not None and named != EVERYBODY:
        yield (
            f"split.public = {list(named)}: makes nobody public, because the attacker's people are those of "
            "`public_data`; take it out, or leave public_data out (split.private says who of `data` may be "
            "private)"
        )


def _evaluator_faults(experiment: ExperimentSections) -> Iterable[str]:
    victim = experiment.victim
    for index, evaluator in enumerate(experiment.evaluators):
        # A given victim's structure is not compared.
        same = (
            isinstance(victim, RecognizerSettings)
            and evaluator.recognizer.network == victim.network
        )
        if evaluator.protocol == "same_people" and same:
            yield (
                f"evaluators.{index} ({evaluator.name}): has the victim's own structure "
                f"(`{evaluator.recognizer.network.name}` with equal settings); an evaluator of the same "
                "people needs another one, or it would share the victim's blind spots"
            )
        elif (
            evaluator.another_network
            and isinstance(victim, RecognizerSettings)
            and evaluator.recognizer.network.name == victim.network.name
        ):
            yield (
                f"evaluators.{index} ({evaluator.name}): is a `{victim.network.name}` as the victim is, only of "
                "other sizes, but `another_network` asks for another kind; give it one, such as {name: ir50} for "
                "{name: vgg16}, or leave `another_network` out"
            )


def _defense_faults(experiment: ExperimentSections) -> Iterable[str]:
    defenses = [defense for _, defense in experiment.every_defense()]
    if experiment.protect == "each" and not any(map(aims, defenses)):
        yield (
            "protect: each: no defense protects the people under attack in particular, so all have the same "
            "model; leave it out, or name one that does, such as {name: gan_fake_samples, protected: targets}"
        )
    for key, defense in experiment.every_defense():
        yield from faults(defense, key)
        for part in chain(defense):
            kind = DEFENSES[part.name](part)
            needs = kind.needed()
            if kind.differential_privacy and experiment.runtime.train_workers > 1:
                yield (
                    f"runtime.train_workers = {experiment.runtime.train_workers}: `{part.name}` trains on one "
                    "worker, or its privacy could not be counted; set it to 1"
                )
            if "private_generator" in needs and experiment.defense_generator is None:
                yield (
                    f"defense_generator: is missing; `{part.name}` needs a generator trained on "
                    "the private set (for example {name: gan_ada})"
                )
            if "public_generator" in needs:
                try:
                    defender_generator(experiment, part)
                except ValueError as error:
                    yield f"{key} {error}"


def _generator_faults(experiment: ExperimentSections) -> Iterable[str]:
    for key in ("generator", "defense_generator"):
        settings = getattr(experiment, key)
        if settings is not None and GENERATORS[settings.name].learns_from_target:
            yield (
                f"{key}: `{settings.name}` learns from the model under attack; give it under "
                "`generators`, for attacks that use it"
            )
    private = experiment.defense_generator
    if private is not None and not GENERATORS[private.name].trains:
        yield (
            f"defense_generator: `{private.name}` is not trained, and this one must learn from the private "
            "pictures; name one that is trained (for example {name: gan_ada})"
        )
    for attack in experiment.attacks:
        try:
            attacker_generator(experiment, attack)
        except ValueError as error:
            yield str(error)


def _batch_faults(experiment: ExperimentSections) -> Iterable[str]:
    workers = experiment.runtime.train_workers
    for key, training in _trainings(experiment, ""):
        if training.batch_size // workers < 2:
            yield (
                f"{key}.batch_size = {training.batch_size}: leaves each of runtime.train_workers = {workers} "
                f"fewer than 2 pictures; give {2 * workers} or more, or fewer workers"
            )


def _trainings(settings: Any, key: str) -> Iterable[tuple[str, TrainingSettings]]:
    """All training settings in a setting, with their dotted keys."""
    if isinstance(settings, TrainingSettings):
        yield key, settings
        return
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(settings, BaseModel):
        inner = settings
    elif isinstance(settings, Mapping):
        inner = settings.items()
    elif isinstance(settings, tuple):
        inner = enumerate(settings)
    for name, value in inner:
        yield from _trainings(value, f"{key}.{name}" if key else str(name))
