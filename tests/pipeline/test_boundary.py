"""The attacker's pictures must not be those of the private people, which is said before a picture is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inversionlab.core.settings import ConfigError
from inversionlab.pipeline.boundary import refuse_same_people
from inversionlab.pipeline.session import open_experiment
from inversionlab.store.storage import Storage
from tests import tiny

SMALL = {"image_size": 16, "channels": 1}


def folder(root: Path, name: str = "folder", **more: Any) -> dict[str, Any]:
    return {"name": name, "root": str(root), **SMALL, **more}


def refused(data: dict[str, Any], public: dict[str, Any], **changed: Any) -> str:
    """What is said before any folder is looked into."""
    made = tiny.experiment(data=data, public_data=public, **changed)
    with pytest.raises(ConfigError) as caught:
        refuse_same_people(made)
    return str(caught.value)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "big" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to("big")
    (tmp_path / "other").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("private", "public", "found"),
    [
        ("big", "big", "is data.root"),
        ("big", "big/../big", "is data.root"),
        ("big", "link", "is data.root"),
        ("link/in", "big", "holds data.root"),
        ("big", "link/in", "lies in data.root"),
    ],
)
@pytest.mark.parametrize("reader", ["folder", "facescrub", "parquet", "celeba"])
def test_one_place_under_two_names_and_readers(
    places: Path, private: str, public: str, found: str, reader: str
) -> None:
    cut = {"crop": {"box": [0, 0, 9, 9]}}
    said = refused(folder(places / private), folder(places / public, reader, **cut))
    assert said.startswith(f"public_data.root = {places / public}: {found} = {places / private};")


def test_two_folders_parts_and_kept_copies_are_taken(places: Path) -> None:
    copies = {"split": {"allow_overlap": True, "keep_copies": True}}
    digits = folder(places / "big", "mnist")
    for data, public, changed in (
        (folder(places / "big"), folder(places / "other"), {}),
        (
            folder(places / "big", "celeba", part="train"),
            folder(places / "link", "celeba", part="test"),
            {},
        ),
        (folder(places / "big"), folder(places / "big"), copies),
        (digits, folder(places / "big", "qmnist", part="test50k"), {}),
        (digits, folder(places / "big"), {}),
    ):
        refuse_same_people(tiny.experiment(data=data, public_data=public, **changed))


def test_digits_in_one_place_are_the_same_digits(places: Path) -> None:
    assert "is data.root" in refused(
        folder(places / "big", "mnist"), folder(places / "link", "mnist")
    )


def test_a_gallery_among_the_strangers(places: Path) -> None:
    victim = {"model": "m:Net", "answers": "embedding", "gallery": str(places / "big")}
    said = refused(
        folder(places / "other"),
        folder(places / "link"),
        victim=victim,
        defense={"name": "none"},
        evaluators=tiny.RECIPE["evaluators"][:1],
        sweep=None,
    )
    assert f"is victim.gallery = {places / 'big'}" in said


def people(root: Path, *names: str, first: int = 0) -> Path:
    """Six pictures of each; all are of different grays."""
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(6):
            gray = first + 6 * place + number
            Image.new("L", (20, 20), gray).save(root / name / f"{number}.png")
    return root


def opened(
    data: dict[str, Any], public: dict[str, Any], storage: Path, **split: Any
) -> tuple[str, ...]:
    """The notes of the splits."""
    few = {"private_min_pictures": 2, "evaluator_people": 0, "near_duplicates": None, **split}
    made = tiny.experiment(
        data=data,
        public_data=public,
        split=few,
        targets={"count": 2},
        evaluators=tiny.RECIPE["evaluators"][:1],
    )
    return open_experiment(made, Storage(str(storage))).builder.splits.notes


def test_a_person_of_one_name_in_both_sets_is_refused(tmp_path: Path) -> None:
    private = folder(people(tmp_path / "big", "ann", "bob", "cid", "dan"))
    public = folder(people(tmp_path / "web", "x/Ann", "y/bob\u200b", "eve", first=100))
    runs = tmp_path / "runs"
    with pytest.raises(
        ConfigError, match=r"public_data: 2 public people have the names of private"
    ):
        opened(private, public, runs)
    notes = opened(private, public, runs, allow_overlap=True)
    assert notes[-1].startswith("2 public people have the names of private people (x/Ann, y/bob")
    # Those who are in `data` and in none of its sets may be public.
    assert not opened(private, public, runs, private=["cid", "dan"])


def test_decoys_are_no_strangers_and_numbers_of_two_sets_mean_nothing(tmp_path: Path) -> None:
    made = {"name": "procedural", "people": 8, "pictures_per_person": 4, **SMALL}
    runs = tmp_path / "runs"
    assert not opened(made, {**made, "seed": 1}, runs, private_people=4)
    private = folder(people(tmp_path / "big", "ann", "bob", "cid", "dan"))
    public = folder(people(tmp_path / "web", "cid", "dan", "x", first=100))
    hidden = {"private": ["ann", "bob"], "decoy_people": 2}
    with pytest.raises(ConfigError, match=r"2 public people have the names of decoys \(cid, dan\)"):
        opened(private, public, runs, **hidden)
