"""The documentation builds as a site, without a warning and without anything from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = ("-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(folder / "cache"))
    done = subprocess.run(
        [sys.executable, *words, "docs", str(folder / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "html"


def test_every_page_is_reached_and_every_method_is_in_the_reference(site: Path) -> None:
    from inversionlab.attacks import ATTACKS

    start = (site / "index.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / name).is_file(), name
    assert 'href="tutorials/audit_your_model.html"' in start
    reference = (site / "reference" / "attacks.html").read_text()
    assert all(f"<h2>{name}<" in reference for name in ATTACKS)
    assert "victim.network" in (site / "reference" / "settings.html").read_text()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"|<link[^>]*\shref="([^"]+)"'
    )
    for page in site.rglob("*.html"):
        for found in loads.finditer(page.read_text()):
            place = found[1] or found[2]
            assert not re.match(r"(?:https?:)?//", place), f"{page.name} loads {place}"
