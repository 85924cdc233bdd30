"""The frame of every page: one file that needs no network and asks for none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from inversionlab.core.yaml_io import dump_yaml
from inversionlab.results import wording

FILTERS = (
    *(wording.percent, wording.interval, wording.estimate_text, wording.number, wording.measure),
    *(wording.points, wording.quantity, wording.duration, wording.words),
)


def fill(
    template: str, context: Mapping[str, Any], *, scripts: Sequence[str], pictures: bool
) -> str:
    """A template of this folder as an HTML document.

    Args:
        template: its file name.
        context: what it reads, in addition to `style`, `script` and `policy`.
        scripts: file names of the scripts that the page runs, in this order.
        pictures: whether the page may show pictures.
    """
    # Everything is escaped: people's names come from folder names.
    environment = _environment(autoescape=True)
    script = "\n".join(_source(environment, name) for name in scripts)
    # With this policy the browser itself refuses any request and any other script.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    images = "data:" if pictures else "'none'"
    policy = (
        f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    style = _source(environment, "style.css")
    return environment.get_template(template).render(
        **context, style=style, script=script, policy=policy
    )


def text_lines(template: str, context: Mapping[str, Any]) -> list[str]:
    """The lines of a plain-text template that are not empty."""
    text = _environment(autoescape=False).get_template(template).render(context)
    return [line.strip() for line in text.splitlines() if line.strip()]


def as_yaml(value: Any) -> str:
    """A plain value as YAML, in its own order."""
    return dump_yaml(value, width=100)


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("inversionlab.report", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in FILTERS})
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
