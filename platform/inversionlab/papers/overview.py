"""Every table and figure of every paper with what the stored runs say of it, on one page.

Each call of `inversionlab paper` keeps the verdicts on the tables that it made, `papers/verdicts/NAME-SCALE.json`,
in place of the older ones on these tables, and writes the overview anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inversionlab.papers import PAPERS, wording
from inversionlab.papers.compare import ComparedTable
from inversionlab.papers.markdown import cell_text
from inversionlab.papers.paper import Paper, Scale
from inversionlab.store.storage import Storage

NOT_RUN = "not run"
ABOUT = (
    "*Reproduced*: each claim of the paper on this table is shown, by the interval of the difference that it is "
    "about, or by the sign-flip test of the same people. *Partly*: some are. *Not reproduced*: none is, and one "
    "is contradicted. *Open*: intervals hold both. A table without a claim is compared cell by cell. Claims that "
    "are ours, not the paper’s, are marked, and no status counts them."
)


def keep_verdicts(
    storage: Storage, paper: Paper, scale: Scale, tables: Sequence[ComparedTable], command: str
) -> None:
    """Keep what these tables say, and the command that made them, beside what is kept of the paper's others."""
    said = {
        compared.table.key: {
            "status": wording.status_text(compared, scale),
            "claims": [wording.claim_text(claim, scale) for claim in compared.claims],
            "noise": []
            if scale == "tiny"
            else [wording.noise_sentence(compared), *wording.noise_reasons(compared)],
            "missing": wording.missing_reasons(compared),
            "command": command,
        }
        for compared in tables
    }
    storage.write_json(_file(paper, scale), {**_kept(storage, paper, scale), **said})
    storage.write(overview_file(scale), overview(storage, scale).encode())


def overview_file(scale: Scale) -> str:
    """Where the overview of a scale is, below the storage root."""
    return f"papers/overview-{scale}.md"


def overview(storage: Storage, scale: Scale) -> str:
    """The overview as Markdown, of what is stored; what was never made says `not run`."""
    lines = ["# Every table and figure of the five papers", ""]
    lines += [f"At the scale `{scale}`. {wording.MADE_UP if scale == 'tiny' else ABOUT}", ""]
    lines += ["| paper | table or figure | status | what the runs say |", "|---|---|---|---|"]
    counts: dict[str, int] = {}
    for paper in PAPERS.values():
        for title, status, said in _rows(paper, _kept(storage, paper, scale)):
            row = (paper.name, title, status, "<br>".join(said))
            lines.append(f"| {' | '.join(map(cell_text, row))} |")
            status = status.partition(" (")[0]
            counts[status] = counts.get(status, 0) + 1
    lines += ["", "; ".join(f"{count} {status}" for status, count in counts.items()) + "."]
    return "\n".join(lines) + "\n"


def _rows(
    paper: Paper, kept: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Title, status and sentences of each table."""
    for table in paper.tables:
        found = kept.get(table.key)
        if found is None:
            yield table.title, NOT_RUN, [f"`inversionlab paper {paper.name} --only {table.key}`"]
            continue
        made = f"Made by `{found['command']}`." if " --set " in found.get("command", "") else ""
        said = [*found["claims"], *found["noise"], *found["missing"], made]
        yield table.title, found["status"], [line for line in said if line]


def _kept(storage: Storage, paper: Paper, scale: Scale) -> dict[str, Any]:
    name = _file(paper, scale)
    kept: dict[str, Any] = storage.read_json(name) if storage.exists(name) else {}
    return kept


def _file(paper: Paper, scale: Scale) -> str:
    return f"papers/verdicts/{paper.name}-{scale}.json"
