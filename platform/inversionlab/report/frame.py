"""What every page is set in: one file that needs no network and asks for none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from inversionlab.core.yaml_io import dump_yaml
from inversionlab.results import wording


def fill(
    template: str, context: Mapping[str, Any], *, scripts: Sequence[str], pictures: bool
) -> str:
    """A template of this folder as an HTML document.

    Args:
        template: its file name.
        context: what it reads, beside `style`, `script` and `policy`, which are added.
        scripts: file names of the scripts that the page runs, in this order.
        pictures: whether the page may show pictures.
    """
    environment = _environment()
    script = "\n".join(_source(environment, name) for name in scripts)
    return environment.get_template(template).render(
        **context,
        style=_source(environment, "style.css"),
        script=script,
        policy=_policy(script, pictures),
    )


def as_yaml(value: Any) -> str:
    """A plain value as YAML, in its own order."""
    return dump_yaml(value, width=100)


def _environment() -> Environment:
    # Autoescape without exception: people's names come from folder names.
    environment = Environment(
        loader=PackageLoader("inversionlab.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        wording.percent,
        wording.interval,
        wording.estimate_text,
        wording.number,
        wording.measure,
        wording.points,
        wording.quantity,
        wording.duration,
        wording.words,
    ):
        environment.filters[function.__name__] = function
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _policy(script: str, pictures: bool) -> str:
    """A content security policy: the browser itself refuses any request and any other script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    images = "data:" if pictures else "'none'"
    return (
        f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
