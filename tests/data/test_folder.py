import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inversionlab.core import settings
from inversionlab.data.base import Pictures
from inversionlab.data.folder import Folder, FolderSettings


def make(root: Path, **changes: object) -> Folder:
    base = {"name": "folder", "root": str(root), "image_size": 16}
    return Folder(settings.validate(FolderSettings, base | changes, origin="test"))


def load(root: Path, **changes: object) -> Pictures:
    return make(root, **changes).load()


def save(path: Path, gray: int = 100, size: tuple[int, int] = (20, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (gray, gray, gray)).save(path)
    return path


def error_of(root: Path, **changes: object) -> str:
    """The one error text that both ways of asking give."""
    with pytest.raises(settings.ConfigError) as asked:
        make(root, **changes).fingerprint()
    with pytest.raises(settings.ConfigError) as caught:
        load(root, **changes)
    assert str(asked.value) == str(caught.value)
    return str(caught.value)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two people, ann with pictures of gray 10 and 20, bob with 30."""
    save(tmp_path / "ann" / "1.png", 10)
    save(tmp_path / "ann" / "2.bmp", 20)
    save(tmp_path / "bob" / "1.ppm", 30)
    return tmp_path


def test_people_and_pictures_come_sorted(people: Path) -> None:
    pictures = load(people)
    assert pictures.people == ("ann", "bob")
    assert pictures.person_N.tolist() == [0, 0, 1]
    assert pictures.images_NCHW.shape == (3, 3, 16, 16)
    assert pictures.images_NCHW[:, 0, 8, 8].tolist() == [10, 20, 30]
    assert pictures.skipped == ()


def test_a_person_is_any_folder_that_holds_pictures(people: Path) -> None:
    save(people / "c" / "d" / "e" / "1.png", 50)
    assert load(people).people == ("ann", "bob", "c/d/e")


def test_pictures_below_a_persons_folder_are_no_other_person_without_a_word(people: Path) -> None:
    save(people / "ann" / "x" / "old" / "1.png", 40)
    assert "`ann` and `ann/x/old` both hold pictures; move those" in error_of(people)


def test_two_spellings_of_a_folders_name_are_shown_with_what_cannot_be_seen(people: Path) -> None:
    save(people / "ann\u200b" / "1.png", 40)
    text = error_of(people)
    assert f"{people}: 'ann' and 'ann\\u200b' differ only in case, in blanks, in characters" in text


@pytest.mark.parametrize("name", ["ann", "ANN"])
def test_one_name_in_two_folders_is_not_two_people(people: Path, name: str) -> None:
    save(people / "val" / name / "1.png", 40)
    text = error_of(people)
    assert f"`ann` and `val/{name}` have the same name" in text or f"`val/{name}` and" in text
    assert "join them if they are one person" in text


@pytest.mark.parametrize("name", ["x.jpg", "x.JPEG", "x.png", "x.PGM", "x.ppm", "x.bmp", "x.WebP"])
def test_every_extension_is_read_in_any_case(people: Path, name: str) -> None:
    path = people / "carl" / name
    path.parent.mkdir()
    mode = "L" if name.lower().endswith("pgm") else "RGB"
    Image.new("RGB", (20, 20), (90, 90, 90)).convert(mode).save(path)
    pictures = load(people)
    assert pictures.people == ("ann", "bob", "carl")
    assert abs(int(pictures.images_NCHW[3, 0, 8, 8]) - 90) <= 2


def test_every_other_file_is_counted(people: Path) -> None:
    before = make(people).fingerprint()
    (people / "README").write_text("about")
    (people / "ann" / "notes.txt").write_text("about")
    (people / "bob" / "more.txt").write_text("about")
    Image.new("RGB", (20, 20)).save(people / "bob" / "moving.gif")
    (people / "bob" / "linked").symlink_to(people / "README")
    save(people / "ann" / ".thumb.png")
    save(people / ".cache" / "1.png")
    assert load(people).skipped == (
        "files in hidden folders: 1 not read",
        "files named *.gif: 1 not read",
        "files named *.txt: 2 not read",
        "files that are links or no plain files: 1 not read",
        "files with hidden names: 1 not read",
        "files without an ending: 1 not read",
    )
    assert load(people).people == ("ann", "bob")
    assert make(people).fingerprint() == before


@pytest.mark.parametrize("name", ["2.jfif", "2", "2.jpg.bak"])
def test_a_jpeg_is_read_whatever_its_name_ends_in(people: Path, name: str) -> None:
    Image.new("RGB", (20, 20), (90, 90, 90)).save(people / "bob" / name, format="JPEG")
    pictures = load(people)
    assert pictures.person_N.tolist() == [0, 0, 1, 1]
    assert pictures.skipped == ()


def test_max_pictures_takes_the_first_by_name(people: Path) -> None:
    pictures = load(people, max_pictures_per_person=1)
    assert pictures.images_NCHW[:, 0, 8, 8].tolist() == [10, 30]


@pytest.mark.parametrize("size", [(92, 112), (112, 92)])
def test_the_central_square_is_cut_out(people: Path, size: tuple[int, int]) -> None:
    """92 x 112: 10 rows on either side of the square are lost, and not a pixel of the inside."""
    values = np.full((size[1], size[0]), 255, dtype=np.uint8)
    inner = (slice(10, -10), slice(None)) if size[1] > size[0] else (slice(None), slice(10, -10))
    values[inner] = 50
    (people / "carl").mkdir()
    Image.fromarray(values).save(people / "carl" / "1.pgm")
    last = load(people, channels=1, image_size=46).images_NCHW[-1]
    assert last.shape == (1, 46, 46)
    assert last.unique().tolist() == [50]


def test_gray_is_luma_and_gray_files_become_rgb(people: Path) -> None:
    (people / "carl").mkdir()
    Image.new("RGB", (20, 20), (200, 100, 50)).save(people / "carl" / "1.png")
    Image.new("L", (20, 20), 77).save(people / "carl" / "2.png")
    # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    assert load(people, channels=1).images_NCHW[3, 0, 8, 8] == 124
    assert load(people).images_NCHW[4, :, 8, 8].tolist() == [77, 77, 77]


def test_sixteen_bit_pictures_are_scaled_not_cut_off(people: Path) -> None:
    (people / "carl").mkdir()
    values = np.full((20, 20), 0x8080, dtype=np.uint16)  # 128 of 255
    Image.fromarray(values).save(people / "carl" / "1.png")
    header = b"P5\n20 20\n65535\n"
    (people / "carl" / "2.pgm").write_bytes(header + values.astype(">u2").tobytes())
    assert load(people, channels=1).images_NCHW[3:, 0, 8, 8].tolist() == [128, 128]


def test_exif_orientation_is_followed(people: Path) -> None:
    picture = Image.new("RGB", (32, 32), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 32, 16))  # bright above
    exif = picture.getexif()
    exif[0x0112] = 3  # turned by 180 degrees
    (people / "carl").mkdir()
    picture.save(people / "carl" / "1.jpg", exif=exif)
    last = load(people, channels=1).images_NCHW[-1, 0].float()
    assert last[:6].mean() < 20
    assert last[-6:].mean() > 235


def bomb() -> bytes:
    """The head of a PNG of 30,000 x 30,000 pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 10) + b"IDAT"


def test_broken_pictures_are_named_and_left_out(people: Path) -> None:
    whole = save(people / "ann" / "3.png", 60, (64, 64)).read_bytes()
    (people / "ann" / "3.png").write_bytes(whole[: len(whole) // 2])
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(people / "ann" / "4.jpg")
    cut = (people / "ann" / "4.jpg").read_bytes()
    (people / "ann" / "4.jpg").write_bytes(cut[: len(cut) // 2])
    (people / "ann" / "5.png").write_bytes(b"")
    (people / "ann" / "6.jpg").write_text("not a picture")
    save(people / "bob" / "2.png", 70, (7, 30))
    (people / "bob" / "3.png").write_bytes(bomb())
    save(people / "bob" / "9.png", 90)
    pictures = load(people)
    assert pictures.images_NCHW[:, 0, 8, 8].tolist() == [10, 20, 30, 90]
    assert pictures.person_N.tolist() == [0, 0, 1, 1]
    named = [line.split(":")[0] for line in pictures.skipped]
    files = ["ann/3.png", "ann/4.jpg", "ann/5.png", "ann/6.jpg", "bob/2.png", "bob/3.png"]
    assert named == files
    assert "truncated" in pictures.skipped[1]
    assert "0 bytes" in pictures.skipped[2]
    assert "is none of BMP" in pictures.skipped[3]
    assert "7x30 pixels; at least 8x8" in pictures.skipped[4]
    assert "exceeds limit" in pictures.skipped[5]


def test_a_person_with_broken_pictures_only_is_no_person(people: Path) -> None:
    (people / "carl").mkdir()
    (people / "carl" / "1.png").write_bytes(b"")
    pictures = load(people)
    assert pictures.people == ("ann", "bob")
    assert len(pictures.skipped) == 1


def test_links_that_leave_the_root_are_refused(people: Path) -> None:
    outside = people.parent / f"{people.name}-outside"
    secret = save(outside / "s" / "1.png", 200)
    (people / "ann" / "9.png").symlink_to(secret)
    (people / "bob" / "8.png").symlink_to(people / "gone.png")
    (people / "zoe").symlink_to(secret.parent, target_is_directory=True)
    (people / "bob" / "9.png").symlink_to(people / "ann" / "1.png")
    pictures = load(people)
    assert pictures.people == ("ann", "bob")
    assert pictures.images_NCHW[:, 0, 8, 8].tolist() == [10, 20, 30, 10]
    assert pictures.skipped == (
        "zoe: is a link to a folder, not followed",
        "ann/9.png: is a link that leaves the root",
        "bob/8.png: is not a file (a broken link?)",
    )


def test_a_root_that_is_a_link_is_fine(people: Path) -> None:
    link = people.parent / f"{people.name}-link"
    link.symlink_to(people, target_is_directory=True)
    assert load(link).people == ("ann", "bob")


def test_missing_root_suggests_the_nearest_sibling(people: Path) -> None:
    text = error_of(people / "anm")
    assert str(people / "anm") in text
    assert "there is no such folder" in text
    assert f"did you mean `{people / 'ann'}`?" in text
    assert f"did you mean `{people / 'bob'}`?" in error_of(people / "bobb" / "deeper")
    assert "has no `qqqq`" in error_of(people / "qqqq")


def test_root_that_is_a_file(people: Path) -> None:
    text = error_of(people / "ann" / "1.png")
    assert "ann/1.png: is a file; expected a folder" in text


def test_no_pictures_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    text = error_of(tmp_path)
    assert f"{tmp_path}: no usable picture (.bmp, .jpeg" in text
    assert "one folder of pictures for each person" in text


def test_pictures_directly_in_the_root(tmp_path: Path) -> None:
    save(tmp_path / "1.png")
    save(tmp_path / "2.png")
    text = error_of(tmp_path)
    assert "2 left out, the first: 1.png: lies directly in the root" in text
    assert "one folder of pictures for each person" in text


def test_just_one_person(tmp_path: Path) -> None:
    save(tmp_path / "ann" / "1.png")
    assert "only one person (`ann`)" in error_of(tmp_path)


def test_all_but_one_person_broken(people: Path) -> None:
    (people / "bob" / "1.ppm").write_bytes(b"")
    with pytest.raises(settings.ConfigError, match=r"only one person .*first: bob/1.ppm: is empty"):
        load(people)


def test_fingerprint_follows_content_names_and_settings(people: Path) -> None:
    first = make(people).fingerprint()
    assert make(people).fingerprint() == first
    prints = {
        first,
        make(people, image_size=32).fingerprint(),
        make(people, channels=1).fingerprint(),
        make(people, max_pictures_per_person=1).fingerprint(),
    }
    save(people / "ann" / "1.png", 11)
    prints.add(make(people).fingerprint())
    (people / "bob").rename(people / "rob")
    prints.add(make(people).fingerprint())
    assert len(prints) == 6


def test_fingerprint_does_not_depend_on_the_place(people: Path) -> None:
    first = make(people).fingerprint()
    moved = people.parent / f"{people.name}-moved"
    people.rename(moved)
    assert make(moved).fingerprint() == first


def test_root_is_made_absolute(monkeypatch: pytest.MonkeyPatch, people: Path) -> None:
    monkeypatch.chdir(people.parent)
    monkeypatch.setenv("HOME", str(people.parent))
    assert make(Path(people.name)).settings.root == people
    assert make(Path("~") / people.name).settings.root == people


@pytest.mark.real_data
def test_the_orl_faces(shared_data: Path) -> None:
    pictures = load(shared_data / "att_faces", channels=1, image_size=32)
    assert pictures.images_NCHW.shape == (400, 1, 32, 32)
    assert len(pictures.people) == 40
    assert pictures.person_N.bincount().tolist() == [10] * 40
    assert pictures.skipped == ("files without an ending: 1 not read",)


@pytest.mark.real_data
@pytest.mark.slow
def test_labelled_faces_in_the_wild(shared_data: Path) -> None:
    pictures = load(shared_data / "lfw64", image_size=32)
    assert len(pictures.images_NCHW) == 13_233
    private = [name for name in pictures.people if name.startswith("private/")]
    assert (len(private), len(pictures.people)) == (217, 5_749)
    assert pictures.skipped == ()


def test_links_in_a_circle_are_named_and_not_followed(people: Path) -> None:
    (people / "ann" / "up").symlink_to(people, target_is_directory=True)
    (people / "ann" / "self.png").symlink_to(people / "ann" / "self.png")
    pictures = load(people)
    assert pictures.people == ("ann", "bob")
    assert set(pictures.skipped) == {
        "ann/up: is a link to a folder, not followed",
        "ann/self.png: is not a file (a broken link?)",
    }


def test_folders_that_are_too_deep_are_named(people: Path) -> None:
    name = "d" * 250
    place = os.open(people, os.O_RDONLY)
    for _ in range(17):  # 17 * 251 bytes: longer than a path may be
        os.mkdir(name, dir_fd=place)
        below = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    (line,) = load(people).skipped
    assert line.endswith(": File name too long")


def test_a_persons_folder_that_is_no_text_is_refused(people: Path) -> None:
    odd = os.fsencode(people) + b"/p\xff"
    os.rename(people / "bob", odd)
    assert f"{people}: the name 'p\\udcff' is not text in UTF-8 (1 such names)" in error_of(people)


def test_names_that_are_no_text_have_a_fingerprint(people: Path) -> None:
    odd = os.fsencode(people / "bob") + b"/\xff.png"
    Image.new("RGB", (20, 20)).save(people / "x.png")
    os.rename(people / "x.png", odd)
    assert len(load(people).images_NCHW) == 4
    assert make(people).fingerprint()


def test_what_is_said_of_names_that_are_no_text_can_be_printed(people: Path) -> None:
    for odd in (b"/ann/\xff.png", b"/bob/\xfe.txt"):
        with open(os.fsencode(people) + odd, "wb"):
            pass
    os.symlink("gone", os.fsencode(people) + b"/bob/\xfd.png")
    said = load(people).skipped
    assert [line.encode().partition(b":")[0] for line in said] == [
        rb"bob/\udcfd.png",
        b"files named *.txt",
        rb"ann/\udcff.png",
    ]
