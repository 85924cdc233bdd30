from pathlib import Path

import pytest

from inversionlab.commands import supplied
from inversionlab.commands.supplied import recipe_file, recipe_headers, space_file
from inversionlab.core.settings import ConfigError

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_names_are_found_in_the_checkout() -> None:
    assert recipe_file(Path("lfw")) == CHECKOUT / "jobs" / "recipes" / "lfw.yaml"
    found = space_file(Path("dummy_recognizer"))
    assert found == CHECKOUT / "search_spaces" / "dummy_recognizer.py"


def test_names_are_found_in_an_installed_package_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text("# Mine: a first line.\n# A second.\nname: x\n")
    monkeypatch.setattr(supplied, "RECIPES", (tmp_path / "recipes", *supplied.RECIPES))
    assert recipe_file(Path("mine")) == tmp_path / "recipes" / "mine.yaml"
    assert recipe_headers() == {"mine": "Mine: a first line."}


def test_a_file_goes_before_a_name_and_a_path_is_never_a_name(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("name: own")
    assert recipe_file(Path("demo")) == Path("demo")
    # A folder of that name is no recipe.
    (tmp_path / "lfw").mkdir()
    assert recipe_file(Path("lfw")).name == "lfw.yaml"
    for given in (Path("here/orl"), Path("orl.yaml")):
        assert recipe_file(given) == given


def test_an_unknown_name_suggests_the_nearest_or_lists_all() -> None:
    with pytest.raises(ConfigError, match=r"demoo: is not a file, and no recipe .* mean `demo`"):
        recipe_file(Path("demoo"))
    with pytest.raises(ConfigError, match="no search space has this name; there are: adversarial"):
        space_file(Path("xyz"))


def test_every_supplied_recipe_has_a_header_to_list() -> None:
    headers = recipe_headers()
    assert {"demo", "lfw", "orl"} < set(headers)
    assert all(header.endswith((".", "?")) for header in headers.values())
