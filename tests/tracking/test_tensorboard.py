"""Event files, read as TensorBoard reads them: record by record."""

from __future__ import annotations

import io
import math
import stat
from pathlib import Path

import pytest
from PIL import Image

from inversionlab.store.storage import Storage
from inversionlab.tracking.tensorboard import EventFile, events
from inversionlab.tracking.tracker import plain

SETTINGS = plain({"alpha": 0.5, "schedule": None, "layers": [1, 2], "deep": {"on": True}})


def only(folder: Path) -> Path:
    (file,) = folder.glob("events.out.tfevents.*")
    return file


def scalars(file: Path) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, value.simple_value)
        for event in events(file.read_bytes())
        for value in event.summary.value
        if value.HasField("simple_value")
    ]


def picture() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (4, 2), "red").save(sink, "png")
    return sink.getvalue()


@pytest.mark.parametrize("local", [True, False])
def test_it_holds_values_pictures_and_every_setting(tmp_path: Path, local: bool) -> None:
    storage = Storage(str(tmp_path))
    # What is not local is written whole each time.
    storage.local = local
    tracker = EventFile(storage, "a/tensorboard", SETTINGS, compared=True)
    tracker.log(1, {"losses/loss": 2.0, "losses/kl": math.inf})
    tracker.picture(1, "samples", picture())
    tracker.log(2, {"losses/loss": 1.5})
    tracker.close()
    file = only(tmp_path / "a" / "tensorboard")
    assert scalars(file) == [
        (1, "losses/loss", 2.0),
        (1, "losses/kl", math.inf),
        (2, "losses/loss", 1.5),
    ]
    found = [v for event in events(file.read_bytes()) for v in event.summary.value]
    (shown,) = [v.image for v in found if v.HasField("image")]
    assert (shown.width, shown.height, shown.colorspace) == (4, 2, 3)
    assert shown.encoded_image_string == picture()
    (start,) = [v for v in found if v.tag == "_hparams_/session_start_info"]
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    data = HParamsPluginData.FromString(start.metadata.plugin_data.content)
    kept = data.session_start_info.hparams
    assert {*kept} == {"alpha", "schedule", "layers", "deep.on"}
    assert kept["alpha"].number_value == 0.5
    assert kept["schedule"].string_value == "null"
    assert kept["deep.on"].bool_value is True


def test_it_is_there_while_the_training_goes_on_and_its_owners_alone(tmp_path: Path) -> None:
    tracker = EventFile(Storage(str(tmp_path)), "a", {})
    assert not (tmp_path / "a").exists()
    tracker.log(1, {"loss": 2.0})
    file = only(tmp_path / "a")
    assert scalars(file) == [(1, "loss", 2.0)]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_what_is_trained_again_takes_the_place_of_what_was(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    killed = EventFile(storage, "a", {})
    for step in (1, 2, 3, 4):
        killed.log(step, {"loss": float(step)})
    # The process died while it wrote.
    file = only(tmp_path / "a")
    file.write_bytes(file.read_bytes() + b"\x20\0\0\0\0\0\0\0half of a rec")
    resumed = EventFile(storage, "a", {"alpha": 1})
    resumed.log(3, {"loss": 30.0})
    resumed.close()
    assert scalars(only(tmp_path / "a")) == [
        (1, "loss", 1.0),
        (2, "loss", 2.0),
        (3, "loss", 30.0),
    ]
    anew = EventFile(storage, "a", {})
    anew.log(1, {"loss": 9.0})
    assert scalars(only(tmp_path / "a")) == [(1, "loss", 9.0)]


def test_a_file_ends_where_a_record_is_damaged(tmp_path: Path) -> None:
    tracker = EventFile(Storage(str(tmp_path)), "a", {})
    tracker.log(1, {"loss": 1.0})
    whole = only(tmp_path / "a").read_bytes()
    before = len([*events(whole)])
    tracker.log(2, {"loss": 2.0})
    content = bytearray(only(tmp_path / "a").read_bytes())
    content[len(whole) + 14] ^= 1
    assert len([*events(bytes(content))]) == before
    assert [*events(b"\xff" * 40)] == []


def test_settings_of_a_network_are_a_text(tmp_path: Path) -> None:
    tracker = EventFile(Storage(str(tmp_path)), "a", SETTINGS)
    tracker.log(1, {"loss": 1.0})
    tracker.close()
    found = [v for e in events(only(tmp_path / "a").read_bytes()) for v in e.summary.value]
    (text,) = [v.tensor.string_val[0].decode() for v in found if v.tag == "settings"]
    assert "| schedule | `null` |" in text
    assert not [v for v in found if v.tag.startswith("_hparams_")]
