from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from inversionlab.core.settings import ConfigError
from inversionlab.data.near_duplicates import (
    NearDuplicates,
    Pictured,
    find_near,
    perceptual_hashes,
    thumbnails,
)
from inversionlab.distributed.run_record import data_record
from inversionlab.pipeline.overlaps import with_near_duplicates
from inversionlab.pipeline.session import open_experiment
from inversionlab.store.storage import Storage
from tests import tiny

PLAIN = NearDuplicates()


def scenes(count: int, seed: int, side: int = 64) -> torch.Tensor:
    """Smooth random pictures: uint8 (count, 3, side, side)."""
    stream = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=stream)
    fine = functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return (fine.clamp(0, 1) * 255).byte()


def part(kind: str, images: torch.Tensor, people: list[int] | None = None) -> Pictured:
    person = np.array(people if people is not None else range(len(images)), dtype=np.int64)
    names = [f"{kind}{i}" for i in range(int(person.max()) + 1 if len(person) else 0)]
    return Pictured(kind, len(images), lambda rows: images[torch.from_numpy(rows)], person, names)


def as_jpeg(image_CHW: torch.Tensor, quality: int, side: int) -> torch.Tensor:
    sink = io.BytesIO()
    picture = Image.fromarray(image_CHW.permute(1, 2, 0).numpy()).resize((side, side))
    picture.save(sink, "JPEG", quality=quality)
    again = Image.open(sink).resize(tuple(image_CHW.shape[1:]))
    return torch.from_numpy(np.asarray(again).copy()).permute(2, 0, 1)


def test_the_hash_is_that_of_the_definition() -> None:
    """The cosine transform written out: sums over rows and columns."""
    small = thumbnails(scenes(2, 3))
    cosine = [[np.cos(np.pi / 32 * k * (n + 0.5)) for n in range(32)] for k in range(8)]
    for image, packed in zip(small, perceptual_hashes(small), strict=True):
        low = np.array(
            [
                [
                    sum(
                        image[y, x] * cosine[k][y] * cosine[m][x]
                        for y in range(32)
                        for x in range(32)
                    )
                    for m in range(8)
                ]
                for k in range(8)
            ]
        ).ravel()
        bits = np.unpackbits(np.array([packed]).view(np.uint8))
        assert bits.tolist() == (low > np.median(low)).astype(int).tolist()


def test_copies_in_another_size_and_compression_are_found() -> None:
    mine, others = scenes(40, 1), scenes(200, 2)
    for row, (quality, side) in enumerate([(90, 64), (60, 64), (75, 40), (30, 64)]):
        others[10 + row] = as_jpeg(mine[row], quality, side)
    others[20] = (mine[5].float() * 0.8 + 20).byte()  # darker, with less contrast
    found = find_near([part("a", mine)], [part("b", others)], PLAIN)
    assert dict(found.between) == {"b": 5}
    pairs = {(0, 10), (1, 11), (2, 12), (3, 13), (5, 20)}
    assert found.people == {("b", f"a{i}", f"b{j}") for i, j in pairs}


def test_a_persons_own_pictures_are_no_copies() -> None:
    twice = scenes(3, 1).repeat(2, 1, 1, 1)
    people = [0, 1, 2, 0, 1, 2]
    assert not find_near([part("a", twice, people)], [], PLAIN).between
    halves = [part("a", twice[:3], [0, 1, 2]), part("a", twice[3:], [0, 1, 2])]
    assert not find_near(halves, [], PLAIN).between
    other = [0, 1, 2, 3, 1, 2]
    found = find_near([part("a", twice, other)], [], PLAIN)
    assert found.people == {("a", "a0", "a3")}


def test_flat_pictures_equal_nothing_and_cost_little() -> None:
    flat = torch.full((6000, 1, 16, 16), 7, dtype=torch.uint8)
    assert not find_near([part("a", flat[:50])], [part("b", flat)], PLAIN).between
    assert np.isfinite(thumbnails(flat[:2])).all()


def test_sets_may_be_empty() -> None:
    nothing = scenes(0, 0)
    assert not find_near([part("a", scenes(3, 0))], [part("b", nothing)], PLAIN).between


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Eight people of six pictures each; the last one has a smaller JPEG of the first one's first picture."""
    root = tmp_path / "people"
    for person in range(8):
        (root / f"p{person}").mkdir(parents=True)
        for row, image in enumerate(scenes(6, 100 + person)):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / f"p{person}/{row}.png")
    return root


def recipe(root: Path, **changed: object) -> dict[str, object]:
    folder = {"name": "folder", "root": str(root), "image_size": 16, "channels": 1}
    split = {
        "private": ["p0", "p1", "p2", "p3"],
        "private_min_pictures": 2,
        "evaluator_only": ["p4", "p5"],
        "evaluator_min_pictures": 2,
        **changed,
    }
    return {"data": folder, "split": split}


@pytest.mark.parametrize(("owner", "kind"), [("p7", "public"), ("p4", "evaluator-only")])
def test_a_near_duplicate_is_refused_or_repeated(
    people: Path, tmp_path: Path, owner: str, kind: str
) -> None:
    with Image.open(people / "p0/0.png") as picture:
        picture.resize((50, 50)).save(people / owner / "9.jpg", quality=80)
    storage = Storage(str(tmp_path / "runs"))
    whose = f"1 private pictures are nearly equal to {kind} ones"
    with pytest.raises(ConfigError, match=f"{whose} .of `p0`") as caught:
        open_experiment(tiny.experiment(**recipe(people)), storage)
    assert "split.allow_overlap: true" in str(caught.value)
    allowing = open_experiment(tiny.experiment(**recipe(people, allow_overlap=True)), storage)
    assert any(whose in note for note in allowing.builder.splits.notes)
    assert data_record(allowing)["overlap"].startswith("allowed (split.allow_overlap)")
    blind = open_experiment(tiny.experiment(**recipe(people, near_duplicates=None)), storage)
    assert not any("nearly" in note for note in blind.builder.splits.notes)
    assert "overlap" not in data_record(blind)
    assert blind.plan.data_id == allowing.plan.data_id


def test_what_was_found_is_stored(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, made = Storage(str(tmp_path / "runs")), tiny.experiment(**recipe(people))
    opened = open_experiment(made, storage)
    (name,) = storage.files("pictures/overlaps")
    monkeypatch.setattr("inversionlab.pipeline.overlaps.find_near", None)
    splits, data_id = opened.builder.splits, opened.plan.data_id
    assert with_near_duplicates(made, splits, data_id, storage) == splits
    storage.write(name, b'[{"kind": 3}]')
    with pytest.raises(TypeError):  # looked for again, and there is nothing to look with
        with_near_duplicates(made, splits, data_id, storage)


def test_drawn_faces_and_digits_are_no_photographs(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "runs"))
    open_experiment(tiny.experiment(), storage)
    assert storage.files("pictures/overlaps") == []


@pytest.mark.real_data
@pytest.mark.slow
def test_labelled_faces_in_the_wild_hold_five_copies(shared_data: Path) -> None:
    """All of them of people who have few pictures, so that nobody private is shown twice."""
    from inversionlab.data.folder import Folder, FolderSettings

    root = shared_data / "lfw64"
    pictures = Folder(FolderSettings(root=root, image_size=64)).load()
    images, person = pictures.images_NCHW, pictures.person_N.numpy()
    whole = Pictured(
        "a", len(images), lambda rows: images[torch.from_numpy(rows)], person, pictures.people
    )
    found = find_near([whole], [], PLAIN)
    assert len(found.people) == 5
    assert all(a.startswith("public/") and b.startswith("public/") for _, a, b in found.people)
