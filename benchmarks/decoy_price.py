"""What decoys cost a recognizer that is better than the recipe's own: SFace, by nearest centre, on its people.

    python -m benchmarks.decoy_price --recipe jobs/recipes/lfw_anonymity.yaml --set data.root=... [--decoys 0 1 3]

Nothing is trained. Every private person is the mean embedding of training pictures, and so is every decoy; a test
picture belongs to the label of its nearest centre. The accuracy falls with the number of decoys, because there are
more people who may be nearer, and it falls less the better the embedding tells people apart. SFace takes about
45 ms a picture.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from inversionlab.core.settings import override, read_recipe, validate
from inversionlab.data.labelled import Labelled
from inversionlab.experiment import Experiment
from inversionlab.metrics.wilson import wilson
from inversionlab.pipeline.evaluate import features, gallery
from inversionlab.pipeline.session import open_experiment
from inversionlab.store.storage import Storage

PICTURES = 8
"""Pictures of a person that a centre is the mean of, at most."""


def first_pictures(people: Labelled, count: int = PICTURES) -> Labelled:
    """The first `count` pictures of everybody."""
    order = people.class_N.argsort(stable=True)
    class_N = people.class_N[order]
    begins = torch.searchsorted(class_N, class_N)
    kept = order[torch.arange(len(order)) - begins < count]
    return Labelled(people.images_NCHW[kept], people.class_N[kept])


def hits(feature_ND: Tensor, class_N: Tensor, person_KD: Tensor, decoy_MD: Tensor) -> int:
    """How many features (N, D) lie nearest to a centre of their own label; decoy m is of label m mod K."""
    classes = len(person_KD)
    nearest_N = (feature_ND @ torch.cat([person_KD, decoy_MD]).T).argmax(1)
    return int((nearest_N % classes == class_N).sum())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each number of decoys."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--decoys", type=int, nargs="+", default=[0, 1, 3, 7])
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        experiment = validate(
            Experiment,
            override(read_recipe(options.recipe), options.assignments),
            origin=str(options.recipe),
        )
        builder = open_experiment(experiment, Storage(folder)).builder
        builder.check()
        embedding = builder.recognizer("evaluator:sface")
        splits, classes = builder.splits, len(builder.splits.people)
    known, people = len(splits.decoys.class_N.unique()), max(options.decoys) * classes
    if known < people:
        parser.error(f"split.decoy_people = {known}: {max(options.decoys)} decoys need {people}")

    def centres(shown: Labelled, count: int) -> Tensor:
        few = first_pictures(shown)
        return gallery(features(embedding, few.images_NCHW, builder.device), few.class_N, count)

    decoys = splits.decoys
    used = decoys.class_N < people
    person_KD = centres(splits.train, classes)
    decoy_MD = centres(Labelled(decoys.images_NCHW[used], decoys.class_N[used]), people)
    test_ND = features(embedding, splits.test.images_NCHW, builder.device)
    for count in options.decoys:
        right = hits(test_ND, splits.test.class_N, person_KD, decoy_MD[: count * classes])
        rate = wilson(right, len(test_ND))
        print(
            f"{count:3d} decoys a label: {100 * rate.value:.2f} % "
            f"({100 * rate.low:.1f} to {100 * rate.high:.1f}) of {len(test_ND)} pictures of {classes} people"
        )


if __name__ == "__main__":
    main()
