"""The gallery of a given embedding: who is enrolled, and the mean direction of each person's embeddings."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from inversionlab import data
from inversionlab.core.settings import ConfigError
from inversionlab.data.labelled import Labelled
from inversionlab.experiment import Experiment
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.given.settings import GivenModelSettings
from inversionlab.pipeline.evaluate import features, gallery
from inversionlab.pipeline.given_facts import gallery_folder
from inversionlab.pipeline.network_spec import BuildContext

SHOWN = 3
"""Left-out files that a line lists."""


def enrolled(
    experiment: Experiment, context: BuildContext, names: tuple[str, ...]
) -> tuple[Labelled, tuple[str, ...]]:
    """The enrolled pictures of an embedding's people, with their classes, and the files that were left out.

    Raises:
        ConfigError: the folder is unusable, or somebody is enrolled who is none of `names`.
    """
    victim = experiment.victim
    assert isinstance(victim, GivenModelSettings)
    if not isinstance(victim.gallery, Path):
        return context.splits.train, ()
    pictures = data.build(gallery_folder(experiment, victim.gallery)).load()
    number = {name: index for index, name in enumerate(names)}
    unknown = sorted(set(pictures.people) - number.keys())
    if unknown:
        raise ConfigError(
            f"victim.gallery: `{unknown[0]}` is enrolled but not in `victim.classes`; add the name there, or take "
            "the folder out"
        )
    class_N = torch.tensor([number[pictures.people[p]] for p in pictures.person_N.tolist()])
    return Labelled(pictures.images_NCHW, class_N), pictures.skipped


def enrol(
    embedding: GivenRecognizer,
    experiment: Experiment,
    context: BuildContext,
    names: tuple[str, ...],
) -> Tensor:
    """The mean direction (K, D) of the enrolled pictures of each of `names`.

    Raises:
        ConfigError: as `enrolled`; or somebody has no enrolled picture.
    """
    pictures, _ = enrolled(experiment, context, names)
    feature_ND = features(embedding, pictures.images_NCHW, context.device)
    means_KD = gallery(feature_ND, pictures.class_N, len(names))
    empty = (means_KD.norm(dim=1) == 0).nonzero().flatten().tolist()
    if empty:
        raise ConfigError(
            f"victim.gallery: `{names[empty[0]]}` has no enrolled picture; everybody needs one"
        )
    return means_KD


def gallery_lines(
    experiment: Experiment, context: BuildContext, names: tuple[str, ...], asked: Labelled
) -> Iterator[str]:
    """What a user should know of the victim's gallery, if it has one; `asked` are the pictures of its check."""
    victim = experiment.victim
    if not isinstance(victim, GivenModelSettings) or victim.gallery is None:
        return
    pictures, skipped = enrolled(experiment, context, names)
    counts = torch.bincount(pictures.class_N, minlength=len(names))
    yield (
        f"{len(names)} people are enrolled by {len(pictures)} pictures ({int(counts.min())} to "
        f"{int(counts.max())} each)"
    )
    if skipped:
        listed = "; ".join(skipped[:SHOWN]) + ("; ..." if len(skipped) > SHOWN else "")
        yield f"gallery: {len(skipped)} files are left out: {listed}"
    known = {_content(picture) for picture in pictures.images_NCHW}
    same = sum(_content(picture) in known for picture in asked.images_NCHW)
    if same:
        yield (
            f"{same} of the {len(asked)} pictures are enrolled themselves and recognize themselves, so the "
            "accuracy is of enrolled pictures; new ones do worse"
        )


def _content(picture_CHW: Tensor) -> bytes:
    return picture_CHW.contiguous().numpy().tobytes()
