"""The course of one training as TensorBoard and services are told of it: losses, pace, grids of made-up faces."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from inversionlab.core.images import grid, png, to_bytes
from inversionlab.core.learner import Learner
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.pipeline.session import Session
from inversionlab.pipeline.train import Progress
from inversionlab.store.storage import StorageError
from inversionlab.tracking.tracker import Subject, plain
from inversionlab.tracking.tracking import Tracked, Tracking

SAMPLES = 64
"""Pictures in a generator's sample grid."""
GRIDS = 8
"""Sample grids that are shown during a training, at most."""
SHARE = 0.02
"""Share of the training time that these may take."""
PUBLIC_ROLE = "generator"
"""The attacker's generators learn from public pictures, so services may be shown what they make. Grids of the
defender's generators, which learn from private pictures, stay in the storage."""


class TrainingCurves:
    """Tells of a training as it goes on."""

    def __init__(self, tracked: Tracked, spec: NetworkSpec, learner: Learner) -> None:
        self._tracked, self._learner = tracked, learner
        self._public = spec.role == PUBLIC_ROLE
        self._epoch, self._next_epoch, self._next_time = 0, 1.0, 0.0

    def __call__(self, progress: Progress) -> None:
        """Tell of an epoch, now and then with a grid of samples."""
        self._epoch = progress.epoch
        values = {f"losses/{name}": value for name, value in progress.losses.items()}
        values["pace/pictures_per_second"] = progress.pictures_per_second
        self._tracked.log(progress.epoch, values)
        began = time.monotonic()
        if progress.epoch < max(self._next_epoch, 1) or began < self._next_time:
            return
        if progress.epoch < progress.epochs and (picture := sample_grid(self._learner)) is not None:
            self._show(picture)
            now = time.monotonic()
            self._next_epoch = progress.epoch + progress.epochs / GRIDS
            self._next_time = now + (now - began) / SHARE

    def end(self, metrics: Mapping[str, float], samples: bytes | None) -> None:
        """Tell what the trained network is tested to do, and show what it makes."""
        if "test_accuracy" in metrics:
            self._tracked.log(self._epoch, {"test/accuracy": metrics["test_accuracy"]})
        if samples is not None:
            self._show(samples)

    def _show(self, picture: bytes) -> None:
        self._tracked.picture(self._epoch, "samples", picture, public=self._public)


def sample_grid(learner: Learner) -> bytes | None:
    """A grid of pictures that show the state of a generator's training, as PNG; None for other networks."""
    shown = learner.samples(SAMPLES)
    return png(grid(to_bytes(shown))) if shown is not None else None


def events_folder(key: str) -> str:
    """Where the event files of a network lie in the storage."""
    return f"artifacts/{key}/tensorboard"


def networks_file(run: str) -> str:
    """The file that names the networks of a run or search, from its begin on."""
    return f"tensorboard/{run}.json"


def store_networks(session: Session, run: str) -> None:
    """Store which networks a run or a search has, for `inversionlab dashboards`."""
    networks = {spec.key: spec.title for spec in session.plan.specs if not spec.given}
    # A view of what is stored elsewhere; the run goes on without it.
    with suppress(StorageError):
        session.store.storage.write_json(networks_file(run), {"networks": networks})


@contextmanager
def training_curves(
    tracking: Tracking | None, project: str, spec: NetworkSpec, learner: Learner
) -> Iterator[TrainingCurves | None]:
    """Within the block a training is told of, if there is anybody to tell; what is raised ends it as failed."""
    if tracking is None:
        yield None
        return
    subject = Subject(project, spec.title, spec.key, plain(spec.inputs))
    tracked = tracking.begin(subject, events_folder(spec.key))
    try:
        yield TrainingCurves(tracked, spec, learner)
    except BaseException:
        tracked.close(failed=True)
        raise
    tracked.close()


def both(
    first: Callable[[Progress], None], second: Callable[[Progress], None] | None
) -> Callable[[Progress], None]:
    """A function that calls both, if there are both."""

    def call(progress: Progress) -> None:
        first(progress)
        if second is not None:
            second(progress)

    return call
