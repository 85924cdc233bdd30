"""Runs what a paper's tables need, by the same functions as `inversionlab audit`, and writes the tables."""

import difflib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import cut
from inversionlab.distributed.audit import audit
from inversionlab.distributed.errors import AuditError
from inversionlab.papers import PAPERS
from inversionlab.papers.blind import blind_key, blind_page, questions, read_answers
from inversionlab.papers.compare import ComparedTable, RecipeRun, compare
from inversionlab.papers.finder import ANSWERS
from inversionlab.papers.markdown import markdown
from inversionlab.papers.measures import MEASURES, measured
from inversionlab.papers.overview import keep_verdicts
from inversionlab.papers.page import render
from inversionlab.papers.paper import Paper, Scale, Table
from inversionlab.papers.printed import printed
from inversionlab.papers.recipes import Recipe, recipes_of
from inversionlab.papers.tables import as_csv, as_parquet, cells_table
from inversionlab.results.load import load_run
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage

FACES = "private_faces"
NONE = RecipeRun()
Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What of a paper is wanted, and at which scale."""

    paper: Paper
    tables: tuple[Table, ...]
    recipes: Mapping[str, Recipe]
    scale: Scale
    command: str
    """What a user types for it."""

    @property
    def blind_folder(self) -> str:
        """Where the page of blind pictures and people's answers are, whichever tables are wanted."""
        return f"papers/{self.paper.name}-{self.scale}"

    @property
    def folder(self) -> str:
        """Where the results go, below the storage root; a part of the tables has a folder of its own."""
        whole = len(self.tables) == len(self.paper.tables)
        parts = [] if whole else [table.key for table in self.tables]
        return f"papers/{'-'.join([self.paper.name, self.scale, *parts])}"

    @classmethod
    def of(
        cls, name: str, only: Sequence[str], scale: Scale, assignments: Sequence[str]
    ) -> "Request":
        """Check the names and the recipes.

        Raises:
            ConfigError: there is no such paper, table or recipe, or a setting is wrong.
        """
        paper = PAPERS.get(name) or _refuse("paper", name, PAPERS)
        keys = [table.key for table in paper.tables]
        for key in only:
            if key not in keys:
                _refuse(f"table or figure of {name}", key, keys)
        tables = tuple(t for t in paper.tables if not only or t.key in only)
        wanted = [recipe for table in tables for recipe in table.recipes]
        words = ["inversionlab paper", name, *(f"--only {key}" for key in only), f"--scale {scale}"]
        words += [f"--set {shlex.quote(assignment)}" for assignment in assignments]
        recipes = recipes_of(name, scale, wanted, assignments)
        return cls(paper, tables, recipes, scale, " ".join(words))


def _refuse(what: str, name: str, known: Iterable[str]) -> Any:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known)}"
    raise ConfigError(f"{cut(name)}: is not a {what}; {hint}")


@dataclass(frozen=True)
class Written:
    """Where the results of a paper are, and what they say."""

    folder: str
    """Below the storage root."""
    tables: tuple[ComparedTable, ...]
    failed: tuple[AuditError, ...]
    """Audits of which some work failed; what was found until then is in the tables."""


def run_paper(request: Request, root: str, say: Say, *, pictures: bool) -> Written:
    """Audit what the tables need and the store lacks, then write page, tables and Markdown.

    Raises what `distributed.audit.audit` raises, but for AuditError.
    """
    storage, failed = Storage(root), list[AuditError]()
    wanted = {measure for table in request.tables for measure in table.measures}
    runs: dict[str, RecipeRun] = {}
    for name, recipe in request.recipes.items():
        mine = [m for owner, m in wanted if owner == name and m in MEASURES]
        asked = request.paper.blind
        if pictures and asked is not None and asked.recipe == name:
            mine.append(FACES)
        experiment = recipe.experiment
        if experiment is None:
            runs[name] = RecipeRun(why_not=recipe.why_not)
            continue
        say(f"recipe {name}: {experiment.name}")
        try:
            run = audit(experiment, root, say)
        except AuditError as error:
            failed.append(error)
            run = error.run
        data = load_run(storage, run)
        found = {m: measured(m, experiment, data.record, storage, say) for m in mine}
        found[ANSWERS] = read_answers(storage, request.blind_folder)
        cells = [cell.finder for table in request.tables for cell in table.cells]
        costly = any(f is not None and f.recipe == name and f.costly for f in cells)
        runs[name] = RecipeRun(RunResults.of(data, frechet=costly), found)
    figures = printed(request.paper.name)
    tables = tuple(compare(table, figures, runs) for table in request.tables)
    folder = _write(storage, request, tables, runs, pictures=pictures)
    keep_verdicts(storage, request.paper, request.scale, tables, request.command)
    return Written(folder, tables, tuple(failed))


def _write(
    storage: Storage,
    request: Request,
    tables: tuple[ComparedTable, ...],
    runs: Mapping[str, RecipeRun],
    *,
    pictures: bool,
) -> str:
    """Write everything into the request's folder."""
    paper, scale, folder = request.paper, request.scale, request.folder
    cells = cells_table(paper.name, scale, tables)
    page = render(paper, scale, tables, runs, pictures=pictures, command=request.command)
    text = markdown(paper, scale, tables, request.command)
    storage.write(f"{folder}/cells.parquet", as_parquet(cells))
    storage.write(f"{folder}/cells.csv", as_csv(cells))
    storage.write(f"{folder}/{paper.name}.md", text.encode())
    storage.write(f"{folder}/page.html", page.encode())
    blind = paper.blind if pictures else None
    ran = NONE if blind is None else runs.get(blind.recipe, NONE)
    if blind is not None and ran.results is not None:
        asked = questions(blind, ran.results, ran.measured.get(FACES, {}))
        shown = blind_page(blind, ran.results, asked)
        storage.write(f"{request.blind_folder}/blind.html", shown.encode())
        key = blind_key(ran.results, asked)
        storage.write_json(f"{request.blind_folder}/blind-key.json", key)
    return folder
