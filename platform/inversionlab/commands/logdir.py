"""The folder that TensorBoard is started on: of one run or search, what trainings and trials have logged.

Networks that were trained before there were event files get theirs from the curves in their cards.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut
from inversionlab.distributed.training_curves import events_folder, networks_file
from inversionlab.results.load import others
from inversionlab.store.storage import Storage
from inversionlab.tracking.tensorboard import EventFile
from inversionlab.tracking.tracker import plain, safe


def make_logdir(storage: Storage, name: str, folder: Path) -> int:
    """Fill an empty folder for a run or a search; returns how many networks and trials it shows now.

    In a local storage, event files are linked, so what still grows is seen to grow.

    Raises:
        ConfigError: there is no such run or search.
    """
    networks, trials = networks_of(storage, name), f"searches/{name}/tensorboard"
    shown = 0
    for key, title in networks.items():
        own = safe(title).replace("/", "-")
        if (folder / own).is_symlink() or (folder / own).exists():
            own = f"{own} {key.rpartition('/')[2][:6]}"
        shown += _one(storage, events_folder(key), folder / own) or _from_card(
            storage, key, folder, own
        )
    for trial in storage.folders(trials):
        shown += _one(storage, f"{trials}/{trial}", folder / trial)
    if storage.local and not (folder / "trial_0000").exists() and is_search(storage, name):
        # Trials that begin later are seen too.
        (folder / "trials").symlink_to(storage.path(trials))
    return shown


def is_search(storage: Storage, name: str) -> bool:
    """Whether a search of this name has begun."""
    return name in storage.folders("searches")


def networks_of(storage: Storage, name: str) -> dict[str, str]:
    """The networks of a run or search: key -> title.

    Raises:
        ConfigError: there is no such run or search.
    """
    for file in (networks_file(name), f"runs/{name}/run.json"):
        with suppress(OSError, ValueError):
            record = storage.read_json(file)
            if "networks" in record:
                return {str(k): str(v) for k, v in record["networks"].items()}
            return {_key(artifact): str(artifact["role"]) for artifact in record["artifacts"]}
    if not is_search(storage, name):
        known = others(storage, "runs") or others(storage, "searches")
        raise ConfigError(f"{storage.root}: holds no run or search `{cut(name)}`{known}")
    return {}


def _key(artifact: Mapping[str, Any]) -> str:
    """The key of a network in a run's record, whose title begins with its role."""
    return f"{str(artifact['role']).split()[0].replace(':', '-')}/{artifact['id']}"


def _one(storage: Storage, source: str, target: Path) -> int:
    """Link or copy the event files of a network or trial; returns 1 where there are some."""
    files = storage.files(source)
    if files and storage.local:
        target.symlink_to(storage.path(source))
    elif files:
        target.mkdir()
        for file in files:
            (target / file.rpartition("/")[2]).write_bytes(storage.read(file))
    return int(bool(files))


def _from_card(storage: Storage, key: str, folder: Path, own: str) -> int:
    """Write event files from a network's card; of one that is not trained yet, link where they will be."""
    try:
        card = storage.read_json(f"artifacts/{key}/card.json")
    except (OSError, ValueError):
        card = {}
    curve = card.get("curve", {})
    if not curve:
        if storage.local and not card:
            (folder / own).symlink_to(storage.path(events_folder(key)))
        return 0
    file = EventFile(Storage(str(folder)), own, plain(card.get("inputs", {})))
    losses = {k: v for k, v in curve.items() if k != "epoch"}
    for place, epoch in enumerate(curve["epoch"]):
        values = {f"losses/{k}": v[place] for k, v in losses.items() if v[place] is not None}
        file.log(int(epoch), values)
    last = int(curve["epoch"][-1])
    if "test_accuracy" in card.get("metrics", {}):
        file.log(last, {"test/accuracy": card["metrics"]["test_accuracy"]})
    with suppress(OSError):
        file.picture(last, "samples", storage.read(f"artifacts/{key}/samples.png"))
    file.close()
    return 1
