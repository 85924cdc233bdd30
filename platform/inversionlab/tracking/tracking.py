"""Everything that is told about one training or trial; no fault of it reaches the work."""

from collections.abc import Callable, Mapping

from inversionlab.store.storage import Storage
from inversionlab.tracking.background import Background
from inversionlab.tracking.log_to import SERVICES, LogTo, without_secrets
from inversionlab.tracking.tensorboard import EventFile
from inversionlab.tracking.tracker import Subject, Tracker

LONGEST = 200
"""Characters of what a service said."""


class Tracking:
    """The trackers of the subjects of one process. A service that has failed is left alone from then on."""

    def __init__(self, storage: Storage, log_to: LogTo, say: Callable[[str], None]) -> None:
        """`say` gets a line about each service that fails, and about event files that cannot be written."""
        self._storage, self._log_to, self._say = storage, log_to, say
        self._failed: set[str] = set()

    def begin(self, subject: Subject, folder: str) -> "Tracked":
        """Begin to track a subject: event files in a folder of the storage, and the services."""
        services: list[Tracker] = []
        for service in self._log_to.services:
            if service not in self._failed:
                services.append(self._service(service, subject))
        return Tracked(self._event_file(subject, folder), services, pictures=self._log_to.pictures)

    def _service(self, service: str, subject: Subject) -> Tracker:
        name, _, address = service.partition(":")
        kind = SERVICES[name]

        def failed(why: str) -> None:
            if service not in self._failed:
                self._failed.add(service)
                self._say(
                    f"warning: no more curves are sent to {name}: {without_secrets(why)[:LONGEST]}. The run "
                    "continues, and the storage keeps the curves"
                )

        return Background(lambda: kind(address, subject), failed)

    def _event_file(self, subject: Subject, folder: str) -> "Guarded":
        def failed(error: Exception) -> None:
            if folder not in self._failed:
                self._failed.add(folder)
                self._say(f"warning: no more curves for TensorBoard in {folder}: {error}")

        return Guarded(
            EventFile(self._storage, folder, subject.settings, compared=subject.compared), failed
        )


class Guarded:
    """A tracker that is left alone once it has raised."""

    def __init__(self, tracker: Tracker, failed: Callable[[Exception], None]) -> None:
        """`failed` gets what was raised."""
        self._tracker: Tracker | None = tracker
        self._failed = failed

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass on the values of a step."""
        self._pass(lambda tracker: tracker.log(step, values))

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Pass on a picture."""
        self._pass(lambda tracker: tracker.picture(step, name, png))

    def close(self, *, failed: bool = False) -> None:
        """End the tracker."""
        self._pass(lambda tracker: tracker.close(failed=failed))

    def _pass(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:
            self._tracker = None
            self._failed(error)


class Tracked:
    """A subject that is being tracked."""

    def __init__(self, files: Tracker, services: list[Tracker], *, pictures: bool) -> None:
        """`files` stay in the storage; `services` get pictures only where `pictures` says so."""
        self._files, self._services, self._pictures = files, services, pictures

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Tell all of them the values of a step."""
        for tracker in (self._files, *self._services):
            tracker.log(step, values)

    def picture(self, step: int, name: str, png: bytes, *, public: bool) -> None:
        """Show a picture: a `public` one, which is made of no private picture, to the services too."""
        self._files.picture(step, name, png)
        if public and self._pictures:
            for tracker in self._services:
                tracker.picture(step, name, png)

    def close(self, *, failed: bool = False) -> None:
        """Tell all of them that nothing more comes."""
        for tracker in (self._files, *self._services):
            tracker.close(failed=failed)
