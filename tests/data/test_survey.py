import traceback
from pathlib import Path

import pytest
from PIL import Image

from inversionlab.core.settings import ConfigError
from inversionlab.data.survey import MOST, survey


def save(path: Path, size: tuple[int, int], mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def test_people_pictures_and_the_median_of_the_shorter_sides(tmp_path: Path) -> None:
    save(tmp_path / "ann" / "1.png", (30, 40))
    save(tmp_path / "ann" / "2.png", (90, 50))
    save(tmp_path / "bob" / "1.png", (70, 70))
    (tmp_path / "bob" / "2.png").write_bytes(b"no picture")
    seen = survey(tmp_path)
    assert seen.counts == (2, 2)
    assert (seen.pictures, seen.people(), seen.people(2), seen.people(3)) == (4, 2, 2, 0)
    assert seen.shorter_side == 50
    assert seen.gray


def test_one_coloured_picture_makes_all_coloured(tmp_path: Path) -> None:
    save(tmp_path / "ann" / "1.png", (30, 30))
    save(tmp_path / "bob" / "1.png", (30, 30), "RGB")
    assert not survey(tmp_path).gray


def test_many_pictures_are_sampled_over_all_files(tmp_path: Path) -> None:
    # The first half is small, the second large: a sample of the first files alone would say 8.
    for index in range(2 * MOST + 2):
        side = 8 if index < MOST // 2 else 16
        save(tmp_path / f"p{index % 2}" / f"{index:05}.pgm", (side, side))
    assert survey(tmp_path).shorter_side == 16


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("", '--data: root = "": is empty; name a path'),
        (" ", "is empty"),
        ("s3://K:hunter2@b/x", "--data: root: s3://***@b/x: holds a secret"),
        ("s3:/K:hunter2@b/x", "did you mean s3://***@b/x?"),
        ("~no-such-user-here/x", "the home folder is not known"),
        ("x" * 5000, "is longer than 4,000 bytes"),
        ("x" * 300, "holds a name of more than 255 bytes"),
        ("x\udcff", "holds bytes that are not text in UTF-8"),
        ("file://host/x", "a file on this machine has three slashes"),
    ],
)
def test_what_is_no_address_is_refused(root: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        survey(root, "--data")
    assert told in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_folder_in_which_nothing_can_be_opened_is_refused(tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "1.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="none of its 2 picture files can be opened"):
        survey(tmp_path)
