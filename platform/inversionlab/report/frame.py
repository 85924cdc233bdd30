"""The frame of every page: one file that needs no network."""

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.table import Table

from inversionlab.results import wording
from inversionlab.store.storage import Storage

FILTERS = (
    *(wording.percent, wording.interval, wording.estimate_text, wording.number, wording.measure),
    *(wording.points, wording.points_span, wording.quantity, wording.duration, wording.words),
    *(wording.spread_text, wording.apart, wording.span, wording.attacker),
)


def fill(
    template: str,
    context: Mapping[str, Any],
    *,
    scripts: Sequence[str],
    pictures: bool,
    charts: bool = True,
) -> str:
    """A template file as an HTML document that runs these script files in this order.

    It reads `context`, `style`, `script`, `policy`, and with `charts` Vega as `vega`. The policy allows pictures
    only if `pictures` does.
    """
    # Everything is escaped: people's names come from folder names.
    environment = _environment(autoescape=True)
    loader = environment.loader
    assert loader is not None
    style, *sources = (loader.get_source(environment, n)[0] for n in ("style.css", *scripts))
    script = "\n".join(sources)
    # With this policy the browser itself refuses any request and any other script.
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()]
    packed = None
    if charts:
        # Imported late: whoever prints a headline needs no charts.
        from inversionlab.report.charts.figure import vega

        packed = vega()
        digests.append(packed.digest)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    images = "data:" if pictures else "'none'"
    policy = (
        f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(
        **context, style=style, script=script, vega=packed, policy=policy
    )


def fragment(template: str, context: Mapping[str, Any]) -> str:
    """A template file as a piece of HTML that stands in a page of somebody else's; everything is escaped."""
    return _environment(autoescape=True).get_template(template).render(context)


def text_lines(template: str, context: Mapping[str, Any]) -> list[str]:
    """The lines of a plain-text template that are not empty."""
    text = _environment(autoescape=False).get_template(template).render(context)
    return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(frozen=True)
class Answer:
    """What the first screen of a page says to one question."""

    question: str
    figure: str
    """The answer in a word or a number."""
    text: str


def answers_of(template: str, context: Mapping[str, Any]) -> list[Answer]:
    """The answers of a plain-text template, each a line whose three parts are parted by tabs."""
    return [Answer(*line.split("\t", 2)) for line in text_lines(template, context)]


def page_name(folder: str, page: str, *, pictures: bool) -> str:
    """Where a page is written: the ones with and without pictures are two files."""
    return f"{folder}/{page}{'' if pictures else '-no-pictures'}.html"


class DoubtError(RuntimeError):
    """A page has warnings, and `--strict` asks for none; everything is stored."""

    exit_code = 4


def publish(
    storage: Storage,
    name: str,
    page: str | None,
    *said: Table | str,
    kind: str,
    warnings: Sequence[str] = (),
    strict: bool = False,
) -> str:
    """Write a page, print what is `said`, its warnings, and where the page, a `kind`, is; returns that place.

    Without a `page` the one that is there stays.

    Raises:
        DoubtError: there are warnings, and `strict`.
    """
    if page is not None:
        storage.write(name, page.encode())
    place = storage.uri(name)
    # A job's log has no width; without one a table would be cut to 80 columns.
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    for item in said:
        console.print(item, highlight=not isinstance(item, str), markup=not isinstance(item, str))
    for warning in warnings:
        # A terminal would break it within words; a log's lines stay whole.
        whole = not console.is_terminal
        console.print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=whole)
    console.print(f"{kind}: {place}", highlight=False, markup=False, soft_wrap=True)
    if strict and warnings:
        these = (
            "there is a warning" if len(warnings) == 1 else f"there are {len(warnings)} warnings"
        )
        raise DoubtError(f"--strict: {these} on the page")
    return place


@functools.cache
def _environment(*, autoescape: bool) -> Environment:
    # One for all pages: Jinja compiles a template once for each environment, which takes longer than to fill it.
    environment = Environment(
        loader=PackageLoader("inversionlab.report", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in FILTERS})
    return environment
