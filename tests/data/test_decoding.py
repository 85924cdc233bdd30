"""How bytes become pictures; `test_folder.py` has what all sets do by default."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from inversionlab.core import settings
from inversionlab.core.alignment import SIDE, TEMPLATE
from inversionlab.data import decoding
from inversionlab.data.crops import ListedBox, PixelBox, square_around
from inversionlab.data.decoding import Decoded, Decoder, Room, is_transparent, kind_of_other
from inversionlab.data.folder import FolderSettings
from inversionlab.data.manifest import PictureFile
from tests.processes import HANG

FILE = PictureFile("ann", "ann/1.png", "ann/1.png", 0, 0)


def packed(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, format=kind, **options)
    return sink.getvalue()


def decoded(content: bytes, size: int = 16, channels: int = 3, **options: object) -> Decoded:
    file = options.pop("file", FILE)
    assert isinstance(file, PictureFile)
    return Decoder(size, channels, **options).decode(content, file)  # type: ignore[arg-type]


@pytest.mark.parametrize(("background", "shade"), [("white", 255), ("gray", 128), ("black", 0)])
def test_transparent_parts_show_the_background(background: str, shade: int) -> None:
    clear = Image.new("RGBA", (20, 20), (200, 0, 0, 0))  # red, and all of it transparent
    picture = decoded(packed(clear), background=background)
    assert np.unique(picture.values_CHW).tolist() == [shade]
    assert picture.remark == f"with transparent parts, laid over {background}"


def test_half_transparent_is_half_of_each() -> None:
    content = packed(Image.new("RGBA", (20, 20), (100, 100, 100, 51)))  # a fifth
    assert np.unique(decoded(content).values_CHW).tolist() == [224]  # 0.2 * 100 + 0.8 * 255
    gray = packed(Image.new("LA", (20, 20), (100, 51)))
    assert np.unique(decoded(gray, channels=1).values_CHW).tolist() == [224]


def test_a_palette_with_a_transparent_colour_is_laid_over_too() -> None:
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([0, 0, 0, 50, 60, 70])
    content = packed(picture, transparency=1)
    assert np.unique(decoded(content).values_CHW).tolist() == [255]
    assert is_transparent(content)


@pytest.mark.parametrize(
    ("mode", "kind", "expected"),
    [
        ("RGBA", "PNG", True),
        ("LA", "PNG", True),
        ("RGB", "PNG", False),
        ("P", "PNG", False),
        ("RGBA", "WEBP", True),
        ("RGB", "WEBP", False),
        ("RGB", "JPEG", False),
        ("L", "PPM", False),
        ("RGB", "BMP", False),
    ],
)
def test_transparency_is_seen_by_the_head(mode: str, kind: str, expected: bool) -> None:
    picture = (
        Image.new("RGBA", (20, 20), (9, 9, 9, 9))
        .convert("RGB" if mode == "P" else "RGBA")
        .convert(mode)
    )
    content = packed(picture, kind)
    assert is_transparent(content) is expected
    assert bool(decoded(content).remark) is expected


def test_broken_heads_are_not_transparent() -> None:
    assert not any(map(is_transparent, (b"", b"x", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBP")))


def test_floats_are_refused() -> None:
    values = np.full((20, 20), 0.5, dtype=np.float32)
    content = b"Pf\n20 20\n-1.0\n" + values.tobytes()
    with pytest.raises(ValueError, match="floating-point numbers, whose range is not known"):
        decoded(content)


def large_jpeg(width: int, height: int) -> bytes:
    """A smooth picture, dark at the left and bright at the right."""
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    return packed(Image.fromarray(np.tile(ramp, (height, 1))), "JPEG", quality=90)


def test_a_large_jpeg_is_read_at_a_part_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    content = large_jpeg(800, 600)
    full = decoded(content, channels=1)
    assert full.remark == ""
    monkeypatch.setattr(decoding, "LARGE", 800 * 600 - 1)
    part = decoded(content, channels=1)
    assert part.remark == "read at a part of their size"
    assert np.abs(part.values_CHW.astype(int) - full.values_CHW.astype(int)).max() <= 2


def test_twice_the_wanted_size_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LARGE", 1)
    with Image.open(io.BytesIO(large_jpeg(800, 600))) as opened:
        Decoder(64, 1)._draft(opened)
        assert opened.size == (200, 150)  # 1/8 would leave 75 of the 128 rows that are wanted
    with Image.open(io.BytesIO(large_jpeg(800, 600))) as opened:
        assert Decoder(64, 1, crop=PixelBox(box=(0, 0, 50, 50)))._draft(opened) == ""
        assert opened.size == (800, 600)


def test_ordinary_pictures_are_read_as_they_always_were() -> None:
    """4000 x 4000 pixels are no large picture, so no stored set changes."""
    assert decoding.LARGE >= 4000 * 4000


def test_room_is_shared_and_nobody_waits_for_ever() -> None:
    room, most, now, lock = Room(100), 0, 0, threading.Lock()

    def hold(size: int) -> None:
        nonlocal most, now
        with room.taken(size):
            with lock:
                now += min(size, 100)
                most = max(most, now)
            time.sleep(0.002)
            with lock:
                now -= min(size, 100)

    threads = [threading.Thread(target=hold, args=(size,)) for size in [40, 60, 70, 500, 1, 0] * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG)
    assert not any(thread.is_alive() for thread in threads)
    assert most <= 100


def test_room_is_given_back_after_a_broken_picture() -> None:
    decoder = Decoder(16, 1, room=1)
    whole = packed(Image.effect_noise((1200, 1200), 50))
    for _ in range(3):
        with pytest.raises(OSError, match="truncated"):
            decoder.decode(whole[:-5000], FILE)
    assert decoder.decode(whole, FILE).values_CHW.shape == (1, 16, 16)


def test_large_files_are_read_one_after_the_other() -> None:
    decoder, most, now, lock = Decoder(16, 1, room=3_000_000), 0, 0, threading.Lock()
    file = FILE._replace(size=2_000_000)

    def read() -> None:
        nonlocal most, now
        with decoder.reading(file):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.002)
            with lock:
                now -= 1

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG)
    assert most == 1
    assert decoding.large(FILE._replace(size=900_000)) == 0
    assert decoding.large(FILE._replace(size=2_000_000, row=3)) == 0  # its table's size


def test_a_box_is_cut_out() -> None:
    picture = Image.new("L", (50, 40), 10)
    picture.paste(200, (20, 5, 40, 25))
    content = packed(picture)
    box = settings.validate(PixelBox, {"box": [20, 5, 40, 25]}, origin="test")
    assert np.unique(decoded(content, crop=box).values_CHW).tolist() == [200]
    outside = PixelBox(box=(30, 10, 60, 40))
    with pytest.raises(ValueError, match=r"is 50x40 pixels; crop.box = \[30, 10, 60, 40\] reaches"):
        decoded(content, crop=outside)


@pytest.mark.parametrize("box", [[0, 0, 20, 30], [-1, 0, 19, 20], [5, 5, 5, 5], [0, 0, 7, 7]])
def test_a_box_is_a_square_inside(box: list[int]) -> None:
    with pytest.raises(settings.ConfigError, match="a square of 8 pixels or more"):
        settings.validate(PixelBox, {"box": box}, origin="test")


def test_a_listed_box_becomes_a_square_with_a_margin() -> None:
    assert square_around((10, 20, 30, 60), 0.0, 100, 100) == (0, 20, 40, 60)
    assert square_around((10, 20, 30, 60), 0.25, 100, 100) == (-10, 10, 50, 70)
    # What lies beyond the picture does not count.
    assert square_around((-1e9, 20, 40, 60), 0.0, 100, 100) == (0, 20, 40, 60)
    with pytest.raises(ValueError, match="holds less than 8x8"):
        square_around((95, 20, 300, 60), 0.0, 100, 100)
    with pytest.raises(ValueError, match="which is none"):
        square_around((float("nan"), 20, 40, 60), 0.0, 100, 100)


def test_a_listed_box_is_cut_out_of_each_picture() -> None:
    picture = Image.new("L", (50, 40), 10)
    picture.paste(200, (20, 5, 40, 25))
    file = PictureFile("a", "a/1", "a/1", 0, 0, box=(20, 5, 40, 25))
    values = decoded(packed(picture), crop=ListedBox(), file=file).values_CHW
    assert np.unique(values).tolist() == [200]
    wide = decoded(packed(picture), crop=ListedBox(margin=0.5), file=file).values_CHW
    assert 10 in wide
    with pytest.raises(ValueError, match="has no box in the set's list"):
        decoded(packed(picture), crop=ListedBox())


def face(turn: complex, shift: complex, size: tuple[int, int]) -> tuple[bytes, tuple[float, ...]]:
    """A picture with a bright spot at each place where `turn` and `shift` bring the template's points."""
    at = [complex(x, y) * turn + shift for x, y in TEMPLATE]
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    values = np.full(rows.shape, 20.0)
    for point in at:
        far = (columns - point.real) ** 2 + (rows - point.imag) ** 2
        values += 230 * np.exp(-far / (2 * (2 * abs(turn)) ** 2))
    picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    return packed(picture), tuple(number for point in at for number in (point.real, point.imag))


@pytest.mark.parametrize(
    ("turn", "shift"), [(1 + 0j, 5 + 3j), (2.5 + 0.6j, 90 + 10j), (0.7 - 0.2j, 10 + 60j)]
)
def test_five_points_come_to_their_places(turn: complex, shift: complex) -> None:
    content, points = face(turn, shift, (420, 360))
    file = PictureFile("a", "a/1", "a/1", 0, 0, points=points)
    values = decoded(content, SIDE, 1, crop="five_point", file=file).values_CHW[0].astype(float)
    for x, y in TEMPLATE:
        rows, columns = np.mgrid[0:SIDE, 0:SIDE]
        near = (np.abs(columns - x) < 8) & (np.abs(rows - y) < 8)
        weight = (values - 20).clip(0) * near
        assert (weight * columns).sum() / weight.sum() == pytest.approx(x, abs=0.35)
        assert (weight * rows).sum() / weight.sum() == pytest.approx(y, abs=0.35)


def test_five_points_of_no_face_are_refused() -> None:
    content, points = face(1 + 0j, 5 + 3j, (150, 150))
    upside_down = points[8:] + points[6:8] + points[4:6] + points[2:4] + points[:2]
    for wrong in (upside_down[:10], (1.0,) * 10, (-500.0, *points[1:])):
        file = PictureFile("a", "a/1", "a/1", 0, 0, points=wrong)
        with pytest.raises(ValueError, match="are none of a face"):
            decoded(content, crop="five_point", file=file)
    with pytest.raises(ValueError, match="has no five points in the set's list"):
        decoded(content, crop="five_point")


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.gif", b"GIF89a", "named *.gif"),
        ("a.TIFF", b"II*\x00", "named *.tiff"),
        ("a.heic", b"\x00\x00\x00\x18ftyp", "named *.heic"),
        ("a", b"hello", "without an ending"),
        ("a.jfif", b"\xff\xd8\xff\xe0", ""),
        ("a.wav", b"RIFF\0\0\0\0WAVE", "named *.wav"),
        ("a", b"RIFF\0\0\0\0WEBPVP8 ", ""),
    ],
)
def test_other_files_are_named_by_their_kind(name: str, head: bytes, kind: str) -> None:
    assert kind_of_other(name, head) == kind


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        ("sqare", "should be 'square' or 'five_point'"),
        (None, "should be 'square' or 'five_point'"),
        ({"box": [0, 0, 20]}, "crop.box.3: is missing"),
        ({"boxx": [0, 0, 20, 20]}, "did you mean `box`?"),
        ({"box": [0, 0, 20, 30]}, "is 20 x 30 pixels from (0, 0); a square of"),
        ({"margin": -1}, "crop.margin = -1: should be greater than or equal to 0"),
    ],
)
def test_a_crop_that_there_is_not_is_explained(crop: object, message: str) -> None:
    with pytest.raises(settings.ConfigError) as caught:
        settings.validate(FolderSettings, {"root": "/faces", "crop": crop}, origin="test")
    assert message in str(caught.value)
