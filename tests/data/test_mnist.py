import gzip
import lzma
import os
import struct
import tracemalloc
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from inversionlab.core import settings
from inversionlab.data import idx as idx_files
from inversionlab.data.base import Pictures
from inversionlab.data.mnist import Mnist, MnistSettings

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
TRAIN_LABELS, TEST_LABELS = "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"


def make(root: Path, **changes: object) -> Mnist:
    base = {"name": "mnist", "root": str(root)}
    return Mnist(settings.validate(MnistSettings, base | changes, origin="test"))


def load(root: Path, **changes: object) -> Pictures:
    return make(root, **changes).load()


def idx(values: np.ndarray, magic: int | None = None) -> bytes:
    magic = 0x800 + values.ndim if magic is None else magic
    return struct.pack(f">{1 + values.ndim}I", magic, *values.shape) + values.tobytes()


def digits(count: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Picture n is filled with the gray value `start` + n; its label is n modulo 10."""
    gray = np.arange(start, start + count, dtype=np.uint8)
    return np.broadcast_to(gray[:, None, None], (count, 28, 28)), np.arange(
        count, dtype=np.uint8
    ) % 10


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """20 training pictures of gray 0 to 19 and 10 test pictures of gray 100 to 109."""
    for image_name, label_name, (images, labels) in (
        (TRAIN, TRAIN_LABELS, digits(20)),
        (TEST, TEST_LABELS, digits(10, 100)),
    ):
        (tmp_path / image_name).write_bytes(idx(images))
        (tmp_path / label_name).write_bytes(idx(labels))
    return tmp_path


def fails(root: Path, **changes: object) -> str:
    with pytest.raises(settings.ConfigError) as caught:
        load(root, **changes)
    return str(caught.value)


def test_digits_are_people(mnist: Path) -> None:
    pictures = load(mnist, part="train")
    assert pictures.people == tuple("0123456789")
    assert pictures.person_N.tolist() == [*range(10), *range(10)]
    assert pictures.person_N.dtype == torch.int64
    assert pictures.images_NCHW.shape == (20, 1, 32, 32)
    assert pictures.images_NCHW[:, 0, 16, 16].tolist() == list(range(20))


@pytest.mark.parametrize(("part", "count"), [("train", 20), ("test", 10), ("both", 30)])
def test_parts(mnist: Path, part: str, count: int) -> None:
    assert len(load(mnist, part=part).images_NCHW) == count


def test_max_pictures_takes_the_first_of_each_digit(mnist: Path) -> None:
    pictures = load(mnist, max_pictures_per_person=1)
    assert pictures.images_NCHW[:, 0, 16, 16].tolist() == list(range(10))
    assert pictures.person_N.bincount().tolist() == [1] * 10


def test_32_is_padded_with_black(mnist: Path) -> None:
    last = load(mnist, part="test").images_NCHW[-1, 0]
    assert last[2:30, 2:30].unique().tolist() == [109]
    assert int(last.sum()) == 109 * 28 * 28


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (16, 3), (64, 3), (32, 3)])
def test_sizes_and_channels(mnist: Path, size: int, channels: int) -> None:
    images = load(mnist, image_size=size, channels=channels).images_NCHW
    assert images.shape == (30, channels, size, size)
    assert images.dtype == torch.uint8
    middle = images[-1, :, size // 2, size // 2]
    assert middle.tolist() == [109] * channels  # a flat picture stays flat, whatever its size


def test_gz_and_torchvision_places_are_the_same(
    mnist: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    raw = other / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in mnist.iterdir():
        (raw / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert make(other).fingerprint() == make(mnist).fingerprint()
    assert torch.equal(load(other).images_NCHW, load(mnist).images_NCHW)


def test_fingerprint_follows_content_and_settings(mnist: Path) -> None:
    prints = {make(mnist, **c).fingerprint() for c in ({}, {"part": "test"}, {"channels": 3})}
    prints.add(make(mnist, max_pictures_per_person=1).fingerprint())
    content = bytearray((mnist / TRAIN).read_bytes())
    content[-1] ^= 1
    (mnist / TRAIN).write_bytes(content)
    prints.add(make(mnist).fingerprint())
    assert len(prints) == 5


def test_no_trained_network_depends_on_whether_files_were_downloaded(mnist: Path) -> None:
    once, again = make(mnist, download=True), make(mnist)
    assert once.settings.trained_part() == again.settings.trained_part()
    assert once.fingerprint() == again.fingerprint()


def test_missing_folder_and_missing_file(mnist: Path) -> None:
    assert "there is no such folder" in fails(mnist / "gone")
    (mnist / TEST_LABELS).unlink()
    text = fails(mnist)
    assert f"{mnist}: neither `{TEST_LABELS}` nor `{TEST_LABELS}.gz`" in text
    assert "download: true" in text
    assert len(load(mnist, part="train").images_NCHW) == 20


def test_wrong_magic(mnist: Path) -> None:
    (mnist / TRAIN).write_bytes(idx(digits(20)[0], magic=0x801))
    assert f"{TRAIN}: begins with 0x00000801, not with 0x00000803" in fails(mnist)


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_length(mnist: Path, change: int) -> None:
    content = (mnist / TRAIN).read_bytes()
    (mnist / TRAIN).write_bytes(content[:-1] if change < 0 else content + b"\0")
    text = fails(mnist)
    assert f"{TRAIN}: its header promises 20 x 28 x 28 = 15680 bytes" in text
    assert ("but 15679 follow" if change < 0 else "but more follow") in text


def test_a_header_that_promises_the_moon_is_not_believed(mnist: Path) -> None:
    content = bytearray((mnist / TRAIN).read_bytes())
    content[4:16] = b"\xff" * 12
    (mnist / TRAIN).write_bytes(content)
    text = fails(mnist)
    assert "= 79228162458924105385300197375 bytes; no file of MNIST" in text
    with pytest.raises(settings.ConfigError, match="79228162458924105385300197375 bytes; no file"):
        make(mnist).fingerprint()


@pytest.mark.parametrize(("ending", "packed"), [("gz", gzip), ("xz", lzma)])
def test_no_more_is_unpacked_than_a_header_promises(
    mnist: Path, monkeypatch: pytest.MonkeyPatch, ending: str, packed: ModuleType
) -> None:
    content = (mnist / TRAIN).read_bytes()
    (mnist / f"{TRAIN}.{ending}").write_bytes(packed.compress(content + bytes(40 << 20)))
    (mnist / TRAIN).unlink()
    monkeypatch.setattr(idx_files, "_PIECE", 1 << 14)
    tracemalloc.start()
    try:
        assert "= 15680 bytes, but more follow" in fails(mnist)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [TRAIN, f"{TRAIN}.gz"])
def test_a_pipe_is_not_waited_for(mnist: Path, name: str) -> None:
    (mnist / TRAIN).unlink()
    os.mkfifo(mnist / name)
    assert f"{name}: cannot be read: it is a pipe or device" in fails(mnist)
    with pytest.raises(settings.ConfigError, match="it is a pipe or device"):
        make(mnist).fingerprint()


def test_a_folder_of_a_files_name_hides_no_packed_file(mnist: Path) -> None:
    (mnist / f"{TRAIN}.gz").write_bytes(gzip.compress((mnist / TRAIN).read_bytes()))
    (mnist / TRAIN).unlink()
    (mnist / TRAIN).mkdir()
    assert len(load(mnist, part="train").images_NCHW) == 20


@pytest.mark.parametrize("length", [0, 15])
def test_shorter_than_its_header(mnist: Path, length: int) -> None:
    (mnist / TRAIN).write_bytes((mnist / TRAIN).read_bytes()[:length])
    assert f"{TRAIN}: has {length} bytes, which is less than its header (16)" in fails(mnist)


def test_counts_that_do_not_agree(mnist: Path) -> None:
    (mnist / TRAIN_LABELS).write_bytes(idx(digits(19)[1]))
    text = fails(mnist)
    assert f"{TRAIN}: holds 20 pictures" in text
    assert f"{TRAIN_LABELS} holds 19 labels" in text


def test_wrong_side_wrong_label_missing_digit(mnist: Path) -> None:
    images, labels = digits(20)
    (mnist / TRAIN).write_bytes(idx(np.ascontiguousarray(images[:, :, :27])))
    assert "pictures of 28x27 pixels, not 28x28" in fails(mnist)
    (mnist / TRAIN).write_bytes(idx(images))
    (mnist / TRAIN_LABELS).write_bytes(idx(labels + 1))
    assert f"{TRAIN_LABELS}: holds the label 10" in fails(mnist)
    (mnist / TRAIN_LABELS).write_bytes(idx(labels // 2))
    assert "no picture of the digits 5, 6, 7, 8, 9" in fails(mnist, part="train")


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_broken_gzip(mnist: Path, damage: str) -> None:
    packed = gzip.compress((mnist / TRAIN).read_bytes())
    (mnist / TRAIN).unlink()
    (mnist / f"{TRAIN}.gz").write_bytes(packed[:-12] if damage == "cut" else b"nothing of the kind")
    assert f"{TRAIN}.gz: cannot be read: " in fails(mnist)


def test_download_asks_torchvision_only_when_files_are_missing(
    mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(root: str, download: bool) -> None:
        asked.append((root, download))
        raise RuntimeError("no way out")

    monkeypatch.setattr("torchvision.datasets.MNIST", refuse)
    load(mnist, download=True)
    assert asked == []
    assert "could not be downloaded: no way out" in fails(mnist / "new", download=True)
    assert asked == [(str(mnist / "new"), True)]


@pytest.mark.real_data
def test_the_real_one(shared_data: Path) -> None:
    pictures = load(shared_data / "mnist")
    assert pictures.images_NCHW.shape == (70_000, 1, 32, 32)
    assert pictures.person_N[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # The known counts of the training and the test part, added up.
    counts = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
    assert pictures.person_N.bincount().tolist() == counts
