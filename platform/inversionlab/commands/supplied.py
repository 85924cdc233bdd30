"""Recipes and search spaces that come with InversionLab are found by their names.

In an installed package they lie in its folders `recipes/` and `search_spaces/`, in a checkout at its top level.
"""

import difflib
from pathlib import Path

from inversionlab.core.settings import ConfigError, kind_at

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parents[1]


RECIPES = (PACKAGE / "recipes", CHECKOUT / "jobs" / "recipes")
SPACES = (PACKAGE / "search_spaces", CHECKOUT / "search_spaces")


def recipe_file(given: Path) -> Path:
    """The recipe that a word of the command line names: a file, or a name such as `demo`.

    Raises:
        ConfigError: it is neither; the text names the nearest.
    """
    return _find(given, "recipe", _supplied(RECIPES, "*.yaml"))


def space_file(given: Path) -> Path:
    """The search space that a word of the command line names: a file, or a name such as `dummy_recognizer`.

    Raises:
        ConfigError: it is neither; the text names the nearest.
    """
    return _find(given, "search space", _supplied(SPACES, "*.py"))


def has_space(defense: str) -> bool:
    """Whether a search space for a defense comes with InversionLab."""
    return defense in _supplied(SPACES, "*.py")


def recipe_headers() -> dict[str, str]:
    """The first line of the header of each recipe that comes with InversionLab, by the recipe's name."""
    return {
        name: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        for name, path in _supplied(RECIPES, "*.yaml").items()
    }


def _supplied(places: tuple[Path, ...], pattern: str) -> dict[str, Path]:
    """The files in the first of the places that exists, sorted by name without ending."""
    place = next((p for p in places if p.is_dir()), None)
    return {} if place is None else {path.stem: path for path in sorted(place.glob(pattern))}


def _find(given: Path, what: str, supplied: dict[str, Path]) -> Path:
    is_file = kind_at(given, origin=str(given)) == "file"
    # Another path, or a name with an ending, means a file. Its reader says what is wrong with it.
    if is_file or len(given.parts) != 1 or given.suffix:
        return given
    if given.name in supplied:
        return supplied[given.name]
    near = difflib.get_close_matches(given.name, supplied, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(supplied)}"
    raise ConfigError(f"{given}: is not a file, and no {what} has this name; {hint}")
