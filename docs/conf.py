"""The documentation as a site, by Sphinx: `make docs` builds it into build/docs, without any network.

The reference is made here from the code: the card of every method, and every setting.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "platform"))

project = "InversionLab"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
html_show_sphinx = html_show_copyright = False
exclude_patterns = ["own_model.yaml", "notebooks/*.ipynb"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

ROOMS = {
    "attacks": ("Attacks", "inversionlab.attacks", "ATTACKS"),
    "defenses": ("Defenses", "inversionlab.defenses", "DEFENSES"),
    "generators": ("Generators", "inversionlab.generators", "GENERATORS"),
    "recognizers": ("Recognizers", "inversionlab.recognizers", "RECOGNIZERS"),
    "data_sets": ("Data sets", "inversionlab.data", "DATASETS"),
}
"""Page of the reference -> its title, and where the dict of its entries is."""


def setup(app: Sphinx) -> None:
    """Write the reference before the pages are read; Sphinx calls this."""
    app.connect("builder-inited", write_reference)


def write_reference(app: Sphinx) -> None:
    """Write a page for each room, and one of all settings."""
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    for page, (title, module, name) in ROOMS.items():
        entries = getattr(importlib.import_module(module), name)
        (folder / f"{page}.md").write_text("\n".join(cards(title, entries)), encoding="utf-8")
    (folder / "settings.md").write_text("\n".join(settings()), encoding="utf-8")


def cards(title: str, entries: Mapping[str, Any]) -> Iterator[str]:
    """A page of one room: for each entry the card at the head of its file, and its settings."""
    yield f"# {title}\n"
    for name, kind in entries.items():
        module = sys.modules[kind.__module__]
        yield f"## {name}\n"
        # A card is set in columns.
        yield f"```text\n{(module.__doc__ or '').strip()}\n```\n"
        if (own := getattr(kind, "Settings", None)) is not None:
            yield listed(own)


def settings() -> Iterator[str]:
    """The page of all settings of a recipe."""
    from inversionlab.experiment import Experiment

    yield "# Every setting\n"
    yield "`--set PATH=VALUE` changes any of them, and `inversionlab settings` prints this list.\n"
    yield listed(Experiment)


def listed(model: Any) -> str:
    """The settings of a class, with types, bounds, defaults and meanings."""
    from inversionlab.experiment.settings_reference import settings_reference

    lines = "\n".join(settings_reference(model))
    return f"```text\n{lines}\n```\n"
