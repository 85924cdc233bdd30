"""TensorBoard's event files in the storage: a folder a network or trial, one file in it.

A training that goes on from a checkpoint repeats epochs that its last process has logged. So a new file begins
with what an older one holds of the steps before, and takes its place: no epoch is there twice or missing.

Settings of trials are written as sessions of the HParams page, without the list of all settings that a first run
may write: TensorBoard would show those of that run alone, and makes the list itself where there is none. Those of
networks are a text.
"""

import io
import struct
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from inversionlab.store.storage import Storage, private_file
from inversionlab.tracking.tracker import Plain

EVERY = 20.0
"""Seconds between two writes of a file in a bucket, where a file is written whole; a local one grows at once."""


class EventFile:
    """Writes one event file; it is begun with the first value."""

    def __init__(
        self,
        storage: Storage,
        folder: str,
        settings: Mapping[str, Plain],
        *,
        compared: bool = False,
    ) -> None:
        """`settings` are a text, or if they are `compared` a row on the HParams page."""
        self._storage, self._folder = storage, folder
        self._settings, self._compared = settings, compared
        self._name = ""
        self._whole = bytearray()
        self._written, self._last = 0, 0.0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step.

        Raises:
            StorageError, OSError: it cannot be written.
        """
        self._begin(step)
        self._add(step, [{"tag": name, "simple_value": value} for name, value in values.items()])

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Write a picture; raises as `log`."""
        self._begin(step)
        with Image.open(io.BytesIO(png)) as shown:
            picture = {
                "width": shown.width,
                "height": shown.height,
                "colorspace": len(shown.getbands()),
                "encoded_image_string": png,
            }
        self._add(step, [{"tag": name, "image": picture}])

    def close(self, *, failed: bool = False) -> None:
        """Write the end; raises as `log`."""
        if self._name:
            if self._compared:
                self._add(None, [_session_end(failed=failed)])
            self._flush(at_once=True)

    def _begin(self, step: int) -> None:
        if self._name:
            return
        older = self._storage.files(self._folder)
        # TensorBoard knows its files by their names.
        stamp = f"{int(time.time())}.{uuid.uuid4().hex[:8]}"
        self._name = f"{self._folder}/events.out.tfevents.{stamp}"
        self._whole += _record({"wall_time": time.time(), "file_version": "brain.Event:2"})
        told = _session_start if self._compared else _text
        self._add(None, [told(self._settings)])
        for name in older:
            for event in events(self._storage.read(name)):
                shown = event.summary.value
                if event.step < step and any(v.tag not in TOLD for v in shown):
                    self._whole += _framed(event.SerializeToString())
        self._flush(at_once=True)
        for name in older:
            self._storage.delete(name)

    def _add(self, step: int | None, values: list[dict[str, Any]]) -> None:
        event = {"wall_time": time.time(), "summary": {"value": values}}
        self._whole += _record(event if step is None else {**event, "step": step})
        self._flush()

    def _flush(self, *, at_once: bool = False) -> None:
        if self._storage.local:
            if not self._written:
                self._storage.make_folder(self._folder)
            with open(self._storage.path(self._name), "ab", opener=private_file) as file:
                file.write(self._whole[self._written :])
            self._written = len(self._whole)
        elif at_once or time.monotonic() - self._last >= EVERY:
            self._storage.write(self._name, bytes(self._whole))
            self._last = time.monotonic()


HPARAMS = "_hparams_/"
"""Where the HParams page looks."""
START, END, TEXT = f"{HPARAMS}session_start_info", f"{HPARAMS}session_end_info", "settings"
TOLD = {START, END, TEXT}
"""What a file says once about its whole."""


def _session_start(settings: Mapping[str, Plain]) -> dict[str, Any]:
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo()
    for name, value in settings.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = value
    start.start_time_secs = time.time()
    return _hparams(START, HParamsPluginData(version=0, session_start_info=start))


def _text(settings: Mapping[str, Plain]) -> dict[str, Any]:
    """A table of settings on the Text page."""
    rows = "".join(f"| {name} | `{value}` |\n" for name, value in settings.items())
    return {
        "tag": TEXT,
        "metadata": {"plugin_data": {"plugin_name": "text"}},
        "tensor": {
            "dtype": "DT_STRING",
            "string_val": [f"| setting | value |\n|---|---|\n{rows}".encode()],
            "tensor_shape": {},
        },
    }


def _session_end(*, failed: bool) -> dict[str, Any]:
    from tensorboardX.proto import api_pb2
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo

    status = api_pb2.Status.Value("STATUS_FAILURE" if failed else "STATUS_SUCCESS")
    end = SessionEndInfo(status=status, end_time_secs=time.time())
    return _hparams(END, HParamsPluginData(version=0, session_end_info=end))


def _hparams(name: str, data: Any) -> dict[str, Any]:
    plugin = {"plugin_name": "hparams", "content": data.SerializeToString()}
    # TensorBoard passes over a value without a tensor.
    return {
        "tag": name,
        "metadata": {"plugin_data": plugin},
        "tensor": {"dtype": "DT_FLOAT", "float_val": [0.0], "tensor_shape": {}},
    }


def _record(event: Mapping[str, Any]) -> bytes:
    """An event as a record of a file."""
    from tensorboardX.proto.event_pb2 import Event

    return _framed(Event(**event).SerializeToString())


def _framed(content: bytes) -> bytes:
    """A record: its length, the length's checksum, the content, and its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(content))
    checked = struct.pack("<I", masked_crc32c(length)), struct.pack("<I", masked_crc32c(content))
    return length + checked[0] + content + checked[1]


def events(content: bytes) -> Iterator[Any]:
    """The events of a file, as far as it is whole: a process may have died while it wrote."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    place = 0
    while place + 12 <= len(content):
        (size,) = struct.unpack_from("<Q", content, place)
        record = content[place + 12 : place + 12 + size]
        whole = content[place : place + 16 + size]
        if len(record) < size or _framed(record) != whole:
            return
        try:
            yield Event.FromString(record)
        except DecodeError:
            return
        place += 16 + size
