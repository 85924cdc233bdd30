"""What holds for every data set, whoever wrote it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from inversionlab.core.settings import ConfigError, validate
from inversionlab.data import DATASETS, DataSet, build
from inversionlab.data.files import FileSet
from tests import tiny

EVERY = pytest.mark.parametrize("name", DATASETS)
LISTS = {"celeba": {"boxes", "points"}, "vggface2": {"boxes", "points"}, "facescrub": {"boxes"}}
FILE_SETS = [name for name, kind in DATASETS.items() if issubclass(kind, FileSet)]
ROOTED = [name for name, kind in DATASETS.items() if "root" in kind.Settings.model_fields]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "data.md"


def made(name: str, **changes: object) -> Any:
    return build(validate(DATASETS[name].Settings, changes, origin="test"))


@EVERY
def test_a_set_is_described(name: str) -> None:
    kind = DATASETS[name]
    assert issubclass(kind, DataSet)
    assert kind.Settings.model_fields["name"].default == name
    assert len(inspect.getmodule(kind).__doc__ or "") > 100  # type: ignore[union-attr]
    assert f"\n| `{name}` |" in DOCS.read_text(), f"docs/data.md does not say where to get {name}"


@pytest.mark.parametrize("name", ROOTED)
def test_a_missing_root_is_one_clear_error(name: str, tmp_path: Path) -> None:
    dataset = made(name, root=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"nowhere: there is no such folder .expected") as asked:
        dataset.fingerprint()
    with pytest.raises(ConfigError) as loaded:
        dataset.load()
    assert str(asked.value) == str(loaded.value)


@pytest.mark.parametrize("name", ROOTED)
def test_an_empty_root_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    for ask in (made(name, root=str(tmp_path)).fingerprint, made(name, root=str(tmp_path)).load):
        with pytest.raises(ConfigError, match=str(tmp_path)):
            ask()


@pytest.mark.parametrize("name", FILE_SETS)
def test_what_every_set_of_files_can(name: str) -> None:
    plain = made(name, root="/data").settings
    assert not {"crop", "background"} & plain.model_dump().keys()
    box = made(name, root="/data", crop={"box": [0, 0, 20, 20]}, background="black").settings
    assert box.model_dump(mode="json")["crop"] == {"box": [0, 0, 20, 20]}
    assert box.model_dump(mode="json")["background"] == "black"
    again = type(box).model_validate_json(box.model_dump_json())
    assert again == box
    assert made(name, root="s3://bucket/faces").settings.root == "s3://bucket/faces"
    with pytest.raises(ConfigError, match="max_pictures_per_person"):
        made(name, root="/data", max_pictures_per_person=0)


@pytest.mark.parametrize("name", FILE_SETS)
@pytest.mark.parametrize(
    ("crop", "needed"),
    [("five_point", "points"), ({"margin": 0.1}, "boxes")],
    ids=["points", "boxes"],
)
def test_a_crop_by_a_list_that_the_set_has_not_is_refused_when_the_recipe_is_read(
    name: str, crop: object, needed: str
) -> None:
    def settings() -> Any:
        whole = {"celeba": "in_the_wild", "facescrub": "images"}.get(name)
        pictures = {} if whole is None else {"pictures": whole}
        base = {"data": {"name": name, "root": "/data", "crop": crop} | pictures}
        return tiny.experiment(**base)

    if needed in LISTS.get(name, ()):
        assert settings().data.crop != "square"
        return
    with pytest.raises(ConfigError, match=f"data.crop = .* has no list of the faces' {needed}"):
        settings()
