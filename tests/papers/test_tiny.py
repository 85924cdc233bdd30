"""Every paper at the scale `tiny`, by the function that the command calls; a second call does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from inversionlab.papers import PAPERS
from inversionlab.papers.finder import NO_ANSWERS
from inversionlab.papers.run import Request, Written, run_paper
from tests.papers.test_recipes import WITHOUT_AT_TINY

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

NO_SFACE = "there is no evaluator `sface`"
NOT_AT_THIS_SCALE = {
    "yoshimura": {NO_ANSWERS, NO_SFACE},
    "khosravy": {NO_ANSWERS, NO_SFACE},
    "gong": {
        NO_SFACE,
        "the evaluator `sface` has not been measured",
        "VGG-Face is run at the scale `paper` alone",
        "VGG-Face2 is run at the scale `paper` alone",
    },
    # The curve has four of its 101 alphas.
    "kotsuji": {
        NO_SFACE,
        "the scale `tiny` has `gan_ada` and `vae` alone",
        "the scale `tiny` has one victim",
        "the scale `tiny` has one victim, and at `paper` it is Khosravy's anyway",
        *(f"`dummy_recognizer` at {i / 100:g} is not in the run" for i in range(100)),
    },
}


PEOPLE = {NO_ANSWERS}


def made(name: str, root: Path) -> tuple[Written, list[str]]:
    said: list[str] = []
    request = Request.of(name, (), "tiny", ())
    return run_paper(request, str(root), said.append, pictures=True), said


# Seen: 3 to 10 minutes a paper on two cores at a load of 30 to 70; most of it is the start of workers.
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_runs_and_a_second_call_does_nothing(name: str, tmp_path: Path) -> None:
    written, _ = made(name, tmp_path)
    assert not written.failed
    allowed = NOT_AT_THIS_SCALE.get(name, set())
    left_out = WITHOUT_AT_TINY if name == "gong" else "nothing"
    for compared in written.tables:
        if compared.table.why_not:
            continue
        missing = {c.why for c in compared.cells if c.ours is None and left_out not in c.row}
        assert missing <= allowed, compared.table.key
        assert missing & PEOPLE or compared.status != "not run", compared.table.key
    folder = tmp_path / written.folder
    page = (folder / "page.html").read_text()
    assert "data:image/png;base64," in page
    assert (folder / f"{name}.md").read_text().startswith(f"# {PAPERS[name].title}")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("artifacts/**/*")}
    again, said = made(name, tmp_path)
    assert any("[3/4] attack: 0 reconstructions" in line for line in said)
    assert not any("measuring" in line or " to train:" in line for line in said)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("artifacts/**/*")}
    assert [t.status for t in again.tables] == [t.status for t in written.tables]
