"""Published sets in their true layouts, made of a few small pictures."""

from __future__ import annotations

import gzip
import lzma
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inversionlab import data
from inversionlab.core.settings import ConfigError, validate
from inversionlab.data.celeba import CelebaSettings
from inversionlab.data.facescrub import FacescrubSettings
from inversionlab.data.files import FileSet
from inversionlab.data.parts import are_apart, share_digits
from inversionlab.data.qmnist import QmnistSettings
from inversionlab.data.vggface2 import Vggface2Settings
from tests import tiny


def made(kind: Any, root: Path, **changes: object) -> Any:
    base = {"root": str(root), "image_size": 16, "channels": 1}
    return data.build(validate(kind, base | changes, origin="test"))


def save(path: Path, gray: int, size: tuple[int, int] = (40, 60)) -> None:
    """A gray picture with a brighter square of 20 pixels from (10, 5) on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("L", size, gray)
    picture.paste(250, (10, 5, 30, 25))
    picture.save(path)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def names(dataset: FileSet) -> list[tuple[str, str]]:
    return [(file.person, file.path) for file in dataset.listing().files]


CELEBS = {"000001.jpg": 2880, "000002.jpg": 12, "000003.jpg": 2880, "000004.jpg": 12}


@pytest.fixture(params=["", "torchvision", "official"])
def celeba(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    lists = {"": "", "torchvision": "celeba", "official": "Anno"}[request.param]
    pictures = {"": "", "torchvision": "celeba", "official": "Img"}[request.param]
    evaluation = "Eval" if request.param == "official" else lists
    for row, name in enumerate(CELEBS):
        save(tmp_path / pictures / "img_align_celeba" / name, 40 * row)
    identity = [f"{name} {person}" for name, person in CELEBS.items()]
    write(tmp_path / lists / "identity_CelebA.txt", *identity)
    parts = [f"{name} {0 if person == 12 else 2}" for name, person in CELEBS.items()]
    write(tmp_path / evaluation / "list_eval_partition.txt", *parts)
    parts_of = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    points = " ".join(f"{part}_x {part}_y" for part in parts_of)
    places = "13 20  27 20   20 27  15 35  26 35"
    landmarks = [f"{name} {places}" for name in CELEBS]
    write(tmp_path / lists / "list_landmarks_align_celeba.txt", "4", points, *landmarks)
    return tmp_path


def test_celeba_by_its_own_lists(celeba: Path) -> None:
    dataset = made(CelebaSettings, celeba)
    found = dataset.listing().files
    assert [(f.person, f.name) for f in found] == [
        ("12", "12/000002.jpg"),
        ("12", "12/000004.jpg"),
        ("2880", "2880/000001.jpg"),
        ("2880", "2880/000003.jpg"),
    ]
    pictures = dataset.load()
    assert pictures.people == ("12", "2880")
    assert pictures.person_N.tolist() == [0, 0, 1, 1]
    assert pictures.skipped == ()
    assert len(made(CelebaSettings, celeba, max_pictures_per_person=1).listing().files) == 2


def test_celebas_name_depends_on_who_is_on_a_picture_and_not_on_the_layout(celeba: Path) -> None:
    first = made(CelebaSettings, celeba).fingerprint()
    (lists,) = celeba.rglob("identity_CelebA.txt")
    lists.write_text(lists.read_text().replace("000003.jpg 2880", "000003.jpg 12"))
    assert made(CelebaSettings, celeba).fingerprint() != first


def test_celebas_points_align_and_its_parts_share_nobody(celeba: Path) -> None:
    aligned = made(CelebaSettings, celeba, crop="five_point")
    assert aligned.listing().files[0].points == (13, 20, 27, 20, 20, 27, 15, 35, 26, 35)
    assert aligned.load().skipped == ()
    assert aligned.fingerprint() != made(CelebaSettings, celeba).fingerprint()
    with pytest.raises(ConfigError, match=r"only one person .`12`. has usable pictures"):
        made(CelebaSettings, celeba, part="train").listing()
    with pytest.raises(ConfigError, match="belong to the pictures in the wild"):
        made(CelebaSettings, celeba, crop={"margin": 0.1})
    with pytest.raises(ConfigError, match="has no `img_celeba`"):
        made(CelebaSettings, celeba, pictures="in_the_wild").listing()


def test_celeba_in_the_wild_has_boxes(celeba: Path) -> None:
    for name in CELEBS:
        save(celeba / "img_celeba" / name, 10, (100, 80))
    boxes = [f"{name}    10   5  20  20" for name in CELEBS]
    write(celeba / "list_bbox_celeba.txt", "4", "image_id x_1 y_1 width height", *boxes)
    wild = made(CelebaSettings, celeba, pictures="in_the_wild", crop={"margin": 0.0})
    assert {file.box for file in wild.listing().files} == {(10, 5, 30, 25)}
    assert wild.load().images_NCHW.float().mean() > 240


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "1e308", "x"])
def test_what_is_no_number_of_pixels_is_named_with_its_line(
    celeba: Path, vggface2: Path, facescrub: Path, value: str
) -> None:
    spoiled = {
        "list_landmarks_align_celeba.txt": ("13 20", f"{value} 20"),
        "list_bbox_celeba.txt": ("10 5", f"{value} 5"),
        "loose_bb_train.csv": (",10,5", f",{value},5"),
        "loose_landmark_train.csv": (",13.5,", f",{value},"),
        "facescrub_actors.txt": ("10,5,", f"{value},5,"),
    }
    for name in CELEBS:
        save(celeba / "img_celeba" / name, 10, (100, 80))
    boxes = [f"{name} 10 5 20 20" for name in CELEBS]
    write(celeba / "list_bbox_celeba.txt", "4", "image_id x_1 y_1 width height", *boxes)
    for name, (old, new) in spoiled.items():
        (path,) = celeba.rglob(name)
        path.write_text(path.read_text().replace(old, new))
    lined = rf"line [23]: '{value}' is no number of pixels"
    margin: dict[str, object] = {"crop": {"margin": 0.0}}
    for kind, changes, name in (
        (CelebaSettings, {"crop": "five_point"}, "list_landmarks_align_celeba.txt"),
        (CelebaSettings, {"pictures": "in_the_wild"} | margin, "list_bbox_celeba.txt"),
        (Vggface2Settings, margin, "loose_bb_train.csv"),
        (Vggface2Settings, {"crop": "five_point"}, "loose_landmark_train.csv"),
        (FacescrubSettings, {"pictures": "images"} | margin, "facescrub_actors.txt"),
    ):
        with pytest.raises(ConfigError, match=f"{celeba}/.*{name}: {lined}"):
            made(kind, celeba, **changes).listing()


@pytest.mark.parametrize(
    ("name", "again", "changes", "said"),
    [
        ("identity_CelebA.txt", "000001.jpg 12", {}, "lines 1 and 6 .* 000001.jpg: 2880 and 12"),
        (
            "list_eval_partition.txt",
            "000002.jpg 2",
            {"part": "test"},
            "lines 2 and 6 .* 000002.jpg: 0 and 2",
        ),
        (
            "list_landmarks_align_celeba.txt",
            "000001.jpg 1 2 3 4 5 6 7 8 9 10",
            {"crop": "five_point"},
            "lines 3 and 8 say different things of 000001.jpg",
        ),
    ],
)
def test_two_lines_of_celebas_lists_that_disagree_are_refused(
    celeba: Path, name: str, again: str, changes: dict[str, Any], said: str
) -> None:
    (place,) = celeba.rglob(name)
    lines = place.read_text().rstrip().splitlines()
    write(place, *lines, lines[-1])  # said twice, but the same
    assert made(CelebaSettings, celeba).listing().files
    write(place, *lines, lines[-1], again)
    with pytest.raises(ConfigError, match=said):
        made(CelebaSettings, celeba, **changes).listing()


def test_a_number_of_celeba_that_is_written_in_two_ways(celeba: Path) -> None:
    (place,) = celeba.rglob("identity_CelebA.txt")
    place.write_text(place.read_text().replace("000004.jpg 12", "000004.jpg 012"))
    with pytest.raises(
        ConfigError, match=r"identity_CelebA.txt: '012' and '12' are the same number"
    ):
        made(CelebaSettings, celeba).listing()


def test_what_celebas_lists_and_folders_lack_is_counted(celeba: Path) -> None:
    (folder,) = celeba.rglob("img_align_celeba")
    (folder / "000004.jpg").rename(folder / "000009.jpg")
    assert made(CelebaSettings, celeba).listing().skipped == (
        "listed pictures not there: 1 (the first: 000004.jpg)",
        "pictures without an identity: 1 (the first: 000009.jpg)",
    )


def test_no_list_of_celeba_leads_out_of_its_root(tmp_path: Path) -> None:
    save(tmp_path / "secret.jpg", 0)
    root = tmp_path / "root"
    for name in CELEBS:
        save(root / "img_align_celeba" / name, 10)
    lines = [f"{name} {person}" for name, person in CELEBS.items()]
    write(root / "identity_CelebA.txt", *lines, "../../secret.jpg 12", "/etc/passwd.jpg 12")
    dataset = made(CelebaSettings, root)
    assert all("secret" not in path and "passwd" not in path for _, path in names(dataset))
    assert "listed pictures not there: 2" in dataset.listing().skipped[0]
    (root / "img_align_celeba").rename(tmp_path / "elsewhere")
    (root / "img_align_celeba").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link that leaves"):
        dataset.listing()


@pytest.fixture
def vggface2(tmp_path: Path) -> Path:
    people = {"train": ("n000002", "n000003"), "test": ("n000001", "n000009")}
    for part, members in people.items():
        stems = [f"{person}/{image:04d}_01" for person in members for image in (1, 2)]
        for row, stem in enumerate(stems):
            save(tmp_path / part / f"{stem}.jpg", 20 * row)
        boxes = [f'"{stem}",10,5,20,20' for stem in stems]
        write(tmp_path / "bb_landmark" / f"loose_bb_{part}.csv", "NAME_ID,X,Y,W,H", *boxes)
        points = [f'"{stem}",13.5,20,27,20,20,27,15,35,26,35' for stem in stems]
        header = "NAME_ID,P1X,P1Y,P2X,P2Y,P3X,P3Y,P4X,P4Y,P5X,P5Y"
        write(tmp_path / "bb_landmark" / f"loose_landmark_{part}.csv", header, *points)
    return tmp_path


def test_vggface2_by_its_parts(vggface2: Path) -> None:
    dataset = made(Vggface2Settings, vggface2)
    assert names(dataset) == [
        ("n000002", "train/n000002/0001_01.jpg"),
        ("n000002", "train/n000002/0002_01.jpg"),
        ("n000003", "train/n000003/0001_01.jpg"),
        ("n000003", "train/n000003/0002_01.jpg"),
    ]
    both = made(Vggface2Settings, vggface2, part="both", max_pictures_per_person=1)
    assert [p for p, _ in names(both)] == ["n000001", "n000002", "n000003", "n000009"]
    assert dataset.load().people == ("n000002", "n000003")
    (vggface2 / "test").rename(vggface2 / "validation")
    with pytest.raises(ConfigError, match="has no `test`; expected the folder with VGGFace2's"):
        made(Vggface2Settings, vggface2, part="test").listing()


def test_vggface2s_boxes_and_points(vggface2: Path) -> None:
    boxed = made(Vggface2Settings, vggface2, crop={"margin": 0.0})
    assert {file.box for file in boxed.listing().files} == {(10, 5, 30, 25)}
    assert boxed.load().images_NCHW.float().mean() > 240
    aligned = made(Vggface2Settings, vggface2, crop="five_point")
    assert {f.points for f in aligned.listing().files} == {
        (13.5, 20, 27, 20, 20, 27, 15, 35, 26, 35)
    }
    assert aligned.load().skipped == ()
    (vggface2 / "bb_landmark" / "loose_bb_train.csv").write_text("NAME_ID,X,Y,W,H\nx,1,2,three,4\n")
    with pytest.raises(ConfigError, match=r"loose_bb_train.csv: .*'three'"):
        boxed.listing()
    (vggface2 / "bb_landmark" / "loose_bb_train.csv").write_text(
        "N,X,Y,W,H\nx,1,2,3,4\nx,5,2,3,4\n"
    )
    with pytest.raises(
        ConfigError, match=r"lines 2 and 3 say different things of x: 1 2 3 4 and 5"
    ):
        boxed.listing()
    (vggface2 / "bb_landmark" / "loose_bb_train.csv").write_text("NAME_ID,X,Y,W,H\nx,1\n")
    with pytest.raises(ConfigError, match="line 2 has 2 values, not 5"):
        boxed.listing()


@pytest.mark.parametrize("kind", [Vggface2Settings, FacescrubSettings])
def test_a_persons_folder_that_is_no_text_is_refused(vggface2: Path, kind: Any) -> None:
    (vggface2 / "train").rename(vggface2 / "faces")
    (vggface2 / "train").symlink_to(vggface2 / "faces")
    os.rename(vggface2 / "faces" / "n000002", os.fsencode(vggface2) + b"/faces/n\xff")
    with pytest.raises(ConfigError, match=f"{vggface2}: the name 'n.udcff' is not text in UTF-8"):
        made(kind, vggface2).listing()


@pytest.fixture
def facescrub(tmp_path: Path) -> Path:
    people = {"actors": ("Al_Pacino", 1), "actresses": ("Amy_Adams", 5)}
    header = "name\timage_id\tface_id\turl\tbbox\tsha256"
    for group, (person, first) in people.items():
        lines = []
        for image in (first, first + 1):
            save(tmp_path / group / "faces" / person / f"{person}_{image}_{image + 70}.jpeg", image)
            save(tmp_path / group / "images" / person / f"{person}_{image}.jpeg", image, (90, 90))
            name = person.replace("_", " ")
            lines.append(f"{name}\t{image}\t{image + 70}\thttp://x/y.jpg\t10,5,30,25\t{'0' * 64}")
        write(tmp_path / f"facescrub_{group}.txt", header, *lines)
    return tmp_path


def test_facescrubs_faces_and_whole_pictures(facescrub: Path) -> None:
    faces = made(FacescrubSettings, facescrub)
    assert names(faces) == [
        ("Al Pacino", "actors/faces/Al_Pacino/Al_Pacino_1_71.jpeg"),
        ("Al Pacino", "actors/faces/Al_Pacino/Al_Pacino_2_72.jpeg"),
        ("Amy Adams", "actresses/faces/Amy_Adams/Amy_Adams_5_75.jpeg"),
        ("Amy Adams", "actresses/faces/Amy_Adams/Amy_Adams_6_76.jpeg"),
    ]
    assert faces.load().people == ("Al Pacino", "Amy Adams")
    whole = made(FacescrubSettings, facescrub, pictures="images", crop={"margin": 0.0})
    assert {file.box for file in whole.listing().files} == {(10, 5, 30, 25)}
    assert whole.load().images_NCHW.float().mean() > 240
    with pytest.raises(ConfigError, match=r"belong to whole pictures; set pictures: images"):
        made(FacescrubSettings, facescrub, crop={"margin": 0.0})


def test_facescrub_with_a_folder_for_each_person(tmp_path: Path) -> None:
    for person in ("Al Pacino", "Amy Adams"):
        save(tmp_path / person / f"{person}_71.png", 10)
        save(tmp_path / person / "deeper" / "x.png", 10)
    dataset = made(FacescrubSettings, tmp_path)
    assert [p for p, _ in names(dataset)] == ["Al Pacino", "Amy Adams"]
    assert "Al Pacino/deeper/x.png: lies deeper" in dataset.listing().skipped[0]


def test_a_list_of_facescrub_that_is_none(facescrub: Path) -> None:
    whole = made(FacescrubSettings, facescrub, pictures="images", crop={"margin": 0.0})
    path = facescrub / "facescrub_actors.txt"
    path.write_text(path.read_text().replace("10,5,30,25", "10,5,30"))
    with pytest.raises(ConfigError, match=r"facescrub_actors.txt: line 2: 10,5,30 is not a box"):
        whole.listing()
    path.write_text("name,image_id\n")
    with pytest.raises(ConfigError, match="line 1 has 1 values, not 5"):
        whole.listing()


def digits(count: int) -> tuple[bytes, bytes]:
    """The files of pictures and labels; digit i is all of gray i, and has seven labels more."""
    label = np.zeros((count, 8), dtype=">i4")
    label[:, 0] = np.arange(count) % 10
    label[:, 1:] = 12345
    pixels = np.repeat(label[:, :1].astype(np.uint8), 28 * 28, axis=1)
    images = struct.pack(">IIII", 0x803, count, 28, 28) + pixels.tobytes()
    return images, struct.pack(">III", 0xC02, count, 8) + label.tobytes()


@pytest.fixture(params=["", "QMNIST/raw"])
def qmnist(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / request.param
    folder.mkdir(parents=True, exist_ok=True)
    for stem, count in (("qmnist-train", 30), ("qmnist-test", 10_020)):
        images, labels = digits(count)
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{stem}-labels-idx2-int").write_bytes(labels)
    images, labels = digits(40)
    (folder / "xnist-images-idx3-ubyte.xz").write_bytes(lzma.compress(images))
    (folder / "xnist-labels-idx2-int.xz").write_bytes(lzma.compress(labels))
    return tmp_path


def test_qmnists_parts(qmnist: Path) -> None:
    def count(part: str) -> int:
        return len(made(QmnistSettings, qmnist, part=part).load().images_NCHW)

    parts = ("train", "test", "test10k", "test50k", "nist")
    assert [count(part) for part in parts] == [30, 10_020, 10_000, 20, 40]
    pictures = made(QmnistSettings, qmnist, max_pictures_per_person=2, image_size=28).load()
    assert pictures.people == tuple("0123456789")
    assert pictures.person_N.bincount().tolist() == [2] * 10
    assert pictures.images_NCHW[:, 0, 14, 14].tolist() == pictures.person_N.tolist()
    kinds = {made(QmnistSettings, qmnist, part=part).fingerprint() for part in parts}
    assert len(kinds) == 5


def test_broken_files_of_qmnist(qmnist: Path) -> None:
    (labels,) = qmnist.rglob("qmnist-train-labels-idx2-int")
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-4])
    with pytest.raises(ConfigError, match="promises 30 x 8 = 960 bytes, but 956 follow"):
        made(QmnistSettings, qmnist).load()
    labels.write_bytes(b"\0\0\x08\x01" + whole[4:])
    with pytest.raises(ConfigError, match=r"0x00000c02 .an idx file of 32-bit numbers in 2"):
        made(QmnistSettings, qmnist).load()
    labels.unlink()
    with pytest.raises(
        ConfigError, match="neither it nor its `QMNIST/raw` has `qmnist-train-labels-idx2-int`"
    ):
        made(QmnistSettings, qmnist).load()


def settings(name: str, part: str) -> Any:
    return validate(data.DATASETS[name].Settings, {"root": "/data", "part": part}, origin="test")


@pytest.mark.parametrize(
    ("mine", "theirs", "apart"),
    [
        ("mnist train", "mnist test", True),
        ("mnist train", "mnist both", False),
        ("mnist train", "mnist train", False),
        ("qmnist test10k", "qmnist test50k", True),
        ("qmnist test", "qmnist test50k", False),
        ("qmnist nist", "qmnist train", False),
        ("celeba train", "celeba valid", True),
        ("celeba all", "celeba valid", False),
        ("vggface2 train", "vggface2 test", True),
        ("vggface2 both", "vggface2 test", False),
    ],
)
def test_parts_that_share_nothing(mine: str, theirs: str, apart: bool) -> None:
    assert are_apart(settings(*mine.split()), settings(*theirs.split())) is apart


@pytest.mark.parametrize(
    ("mine", "theirs", "alike"),
    [
        ("folder", "folder", True),
        ("folder", "parquet", True),
        ("tar", "facescrub", True),
        ("vggface2", "folder", True),
        ("celeba", "celeba", True),
        ("celeba", "vggface2", False),
        ("celeba", "folder", False),
        ("mnist", "mnist", False),
        ("mnist", "qmnist", False),
        ("procedural", "procedural", False),
    ],
)
def test_where_a_name_means_the_same_person(mine: str, theirs: str, alike: bool) -> None:
    both = [data.DATASETS[name].Settings.model_construct(name=name) for name in (mine, theirs)]
    assert data.name_people_alike(*both) is alike
    assert data.name_people_alike(*reversed(both)) is alike


@pytest.mark.parametrize(
    ("mine", "theirs", "shared"),
    [
        ("mnist train", "qmnist train", True),
        ("mnist test", "qmnist train", False),
        ("mnist both", "qmnist test10k", True),
        ("mnist both", "qmnist test50k", False),
        ("mnist train", "qmnist nist", True),
        ("mnist train", "mnist test", False),
    ],
)
def test_qmnist_holds_mnists_digits(mine: str, theirs: str, shared: bool) -> None:
    assert share_digits(settings(*mine.split()), settings(*theirs.split())) is shared
    assert share_digits(settings(*theirs.split()), settings(*mine.split())) is shared


def test_wens_overlap_is_asked_for(tmp_path: Path) -> None:
    """Wen et al. give the attacker QMNIST, which holds the victim's MNIST."""
    from inversionlab.pipeline.boundary import refuse_same_people

    def experiment(**split: object) -> Any:
        return tiny.experiment(
            data={"name": "mnist", "root": str(tmp_path)},
            public_data={"name": "qmnist", "root": str(tmp_path)},
            split={"private_min_pictures": 2, **split},
            evaluators=[tiny.RECIPE["evaluators"][0]],
        )

    with pytest.raises(ConfigError, match="QMNIST holds MNIST's own digits; take its part test50k"):
        refuse_same_people(experiment())
    refuse_same_people(experiment(allow_overlap=True))
