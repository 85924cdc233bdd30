"""A chart with the table that it shows: as a picture in a page, as its specification, or as a file."""

import base64
import functools
import gzip
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import altair as alt
import vl_convert
from markupsafe import Markup

from inversionlab.report.charts.marks import Drawing
from inversionlab.report.charts.theme import WIDE, WIDTH, in_light, themed
from inversionlab.results.wording import MISSING

if TYPE_CHECKING:
    import pandas as pd

FileKind = Literal["svg", "pdf", "png"]
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
"""The version that Altair writes for."""
CLIP = r"\bclip\d+\b"
SNIPPET = "window.vegaEmbed = vegaEmbed;"


@dataclass(frozen=True)
class Numbers:
    """A table for reading: its headings, and its rows as text."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """One chart."""

    name: str
    """Of its file."""
    title: str
    about: str
    rows: Sequence[Mapping[str, Any]]
    """The tidy table that it shows."""
    drawing: Drawing
    numbers: Numbers | None = None
    wide: bool = False
    """Whether it has a row of the page to itself."""

    @property
    def frame(self) -> "pd.DataFrame":
        """The tidy table."""
        # Imported late: most pages need no pandas.
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    @functools.cached_property
    def spec(self) -> dict[str, Any]:
        """The chart in Vega-Lite, with the style sheet's variables as colours."""
        chart, sources = self.drawing
        spec: dict[str, Any] = themed(chart).to_dict(validate=False)
        spec["datasets"] = sources
        spec["config"]["view"]["continuousWidth"] = WIDE if self.wide else WIDTH
        # A page names no address.
        spec.pop("$schema", None)
        return spec

    @property
    def fluid(self) -> bool:
        """Whether the live chart takes the width of its place; the others scroll where that is narrow."""
        return bool(self.spec.get("width") == "container")

    @property
    def picture(self) -> Markup:
        """The chart as SVG for a page, in the page's own colours and font."""
        return Markup(_picture(json.dumps(self.spec)))

    def file(self, kind: FileKind) -> bytes:
        """The chart as a file, in the light scheme on white; SVG and PNG are the same bytes every time."""
        spec = json.loads(in_light(json.dumps(self.spec)))
        spec["config"]["background"] = "white"
        spec.setdefault("title", {"text": self.title, "anchor": "start"})
        svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
        # Vega numbers its clip paths on and on; a file's are its own.
        numbers = {name: i for i, name in enumerate(dict.fromkeys(re.findall(CLIP, svg)))}
        svg = re.sub(CLIP, lambda found: f"clip{numbers[found[0]]}", svg)
        if kind == "svg":
            return svg.encode()
        return vl_convert.svg_to_pdf(svg) if kind == "pdf" else vl_convert.svg_to_png(svg, scale=2)


@functools.lru_cache(maxsize=256)
def _picture(spec: str) -> str:
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    # Nothing lies outside a chart at first, and ids would be those of the page's other charts, too.
    svg = re.sub(r"<defs>.*?</defs>", "", svg, flags=re.DOTALL)
    unused = r' (?:clip-path|font-family|xmlns(?::\w+)?|version|pointer-events|stroke-miterlimit)="[^"]*"'
    svg = re.sub(unused, "", svg)
    svg = re.sub(r' aria-roledescription="[^"]* container"| role="graphics-object"', "", svg)
    places = r' (?:d|transform|x|y|x2|y2|width|height)="[^"]*"'
    svg = re.sub(places, lambda found: re.sub(r"(\.\d)\d+", r"\1", found[0]), svg)
    return re.sub(r'(<svg class="marks") width="[\d.]+" height="[\d.]+"', r"\1", svg)


@dataclass(frozen=True)
class Packed:
    """A script, compressed."""

    base64: str
    digest: str
    """The SHA-256 of the script itself, as a page's policy names it."""


@functools.cache
def vega() -> Packed:
    """Vega, Vega-Lite and Vega-Embed with Vega's interpreter, which needs no `eval`, as one script."""
    script = vl_convert.javascript_bundle(SNIPPET, vl_version=VEGA_LITE).encode()
    packed = base64.b64encode(gzip.compress(script, mtime=0)).decode()
    return Packed(packed, base64.b64encode(hashlib.sha256(script).digest()).decode())


def pivoted(rows: Sequence[Mapping[str, Any]], x_name: str, end: str = "") -> Numbers:
    """A row for each x, a column for each series; what is not on the axis stands last."""
    names = list(dict.fromkeys(row["series"] for row in rows))
    found: dict[tuple[float, str], dict[str, list[str]]] = {}
    levels = {row["series"]: row["text"] for row in rows if row["place"] == "level"}
    for row in rows:
        if row["place"] == "level":
            continue
        x = math.inf if row["place"] == "end" else row["x"]
        title = end if row["place"] == "end" else f"{x_name} = {x:.4g}"
        found.setdefault((x, title), {}).setdefault(row["series"], []).append(row["said"])
    body = [
        (title, *(levels.get(n) or "; ".join(texts.get(n, [])) or MISSING for n in names))
        for (_, title), texts in sorted(found.items())
    ]
    return Numbers((x_name, *names), tuple(body))


def with_known(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows whose y is a number."""
    return [row for row in rows if row["y"] is not None and math.isfinite(row["y"])]


def share_floor(lows: Sequence[float]) -> float:
    """Where an axis of shares starts: at 0, or higher where nothing comes near that."""
    lowest = min((low for low in lows if math.isfinite(low)), default=0.0)
    return 0.0 if lowest < 0.5 else math.floor(lowest * 20) / 20
