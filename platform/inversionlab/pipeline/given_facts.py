"""What the starting process finds in the user's files of given models; it travels to every other process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inversionlab import data
from inversionlab.core.settings import ConfigError, fingerprint
from inversionlab.data.folder import FolderSettings
from inversionlab.experiment import Experiment
from inversionlab.generators.given import Given, given_inputs
from inversionlab.given.classes import read_classes
from inversionlab.given.identity import model_digest
from inversionlab.given.settings import GivenModelSettings
from inversionlab.given.sface import SFACE_SETTINGS


@dataclass(frozen=True)
class GivenFacts:
    """What the starting process found in the user's files."""

    digest: str
    """Hash of the files and of the user's code, or of the endpoint's address."""
    classes: tuple[str, ...] | None = None
    """The people that the model knows; None: whom the data shows."""


def read_facts(experiment: Experiment, live: Any) -> tuple[tuple[str, GivenFacts], ...]:
    """The facts of every given model of an experiment, by role; to be called where the user's files are.

    Raises:
        ConfigError: a file is missing or unreadable, or the people that the victim knows are not known.
    """
    found: dict[str, GivenFacts] = {}
    victim = experiment.victim
    if isinstance(victim, GivenModelSettings):
        classes, gallery_id = None, ""
        if victim.classes is not None:
            classes = read_classes(victim.classes)
        if isinstance(victim.gallery, Path):
            pictures = data.build(gallery_folder(experiment, victim.gallery))
            gallery_id = pictures.fingerprint()
            classes = classes or pictures.load().people
        digest = fingerprint([model_digest(victim, live), gallery_id])
        if classes is None and experiment.data is None:
            raise ConfigError(
                "victim.classes: is missing; without `data` nothing else names the people whom the model knows "
                "(a text file with a line for each class will do)"
            )
        found["victim"] = GivenFacts(digest, classes)
    for generator in (experiment.generator, *experiment.generators.values()):
        if isinstance(generator, Given.Settings):
            digest = fingerprint(given_inputs(generator))
            found[generator_role(generator)] = GivenFacts(digest)
    for evaluator in experiment.evaluators:
        if evaluator.protocol in ("embedding", "given"):
            given = evaluator.given or SFACE_SETTINGS
            names = read_classes(given.classes) if given.classes is not None else None
            found[f"evaluator:{evaluator.name}"] = GivenFacts(model_digest(given, None), names)
    return tuple(found.items())


def generator_role(settings: Given.Settings) -> str:
    """The key of a given generator's facts."""
    return f"generator {settings.model_dump_json()}"


def gallery_folder(experiment: Experiment, folder: Path) -> FolderSettings:
    """The enrolled pictures, as large as all others of the experiment."""
    shown = experiment.pictures
    return FolderSettings(root=folder, image_size=shown.image_size, channels=shown.channels)
