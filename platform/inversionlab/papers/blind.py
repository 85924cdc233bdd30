"""A page that shows pictures blind to people, and what their answers say (Yoshimura II, III; Khosravy 3).

Each person attacked is shown once by each attack, once as a random public face, which is nobody of them, and
once in a held-out picture of their own, all in random order. First: which of the people is it? Then, beside the
person's picture: do the two show the same person? At last: does it look like a photograph of a face?

The page knows no answer; the key lies beside it. A person's answers are a CSV file `question,answer` in the folder
`answers/` beside the page; the next call reads all of them. A question's name holds that of the run, so answers to
another page do not count.
"""

import base64
import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from inversionlab.core import seeds
from inversionlab.core.settings import fingerprint
from inversionlab.metrics import Estimate, by_person, wilson
from inversionlab.papers.finder import Measured
from inversionlab.papers.finders import Success
from inversionlab.papers.paper import Blind
from inversionlab.report.frame import fill
from inversionlab.results.run_results import RunResults
from inversionlab.store.storage import Storage

REAL, NULL = "real", "random public face"
NOBODY = "nobody"
WHO, ALIKE, NATURAL = "who", "alike", "natural"
ASKED = (WHO, ALIKE, NATURAL)
"""What is asked about each picture; a question's name begins with it."""
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Question:
    """A picture, and what it is in truth."""

    kind: str
    """An attack's heading, `REAL` or `NULL`."""
    place: int
    """The place of the target; of a null picture the one that it is compared with."""
    picture: bytes


def questions(blind: Blind, results: RunResults, faces: Measured) -> list[Question]:
    """The questions in random order; `faces` is what the measure `private_faces` found."""
    targets = results.run.record.jobs.targets[: len(LETTERS)]
    found = []
    for place, target in enumerate(targets):
        for kind, attack in (*blind.attacks, (NULL, "random_public")):
            model = "no model" if kind == NULL else "none"
            table = Success(blind.recipe, model, attack).first_table(results)
            mine = table.filter(pc.equal(table["target"], target)).select(["repeat", "picture"])
            first = min(mine.to_pylist(), key=lambda row: int(row["repeat"]))
            found.append(Question(kind, place, first["picture"]))
        held_out = faces.get(str(target), {}).get("picture")
        if held_out:
            found.append(Question(REAL, place, base64.b64decode(held_out)))
    order = np.random.default_rng(seeds.derive(0, "blind", results.run.record.run) % 2**63)
    return [found[i] for i in order.permutation(len(found))]


def question_names(results: RunResults, what: str, count: int) -> list[str]:
    """Names of questions of this kind, one of `ASKED`: those of another run are others."""
    run = fingerprint(results.run.record.run)[:6]
    return [f"{what}-{run}-{number}" for number in range(count)]


def _named(
    results: RunResults, what: str, asked: Sequence[Question]
) -> Iterable[tuple[str, Question]]:
    """The questions of this kind, each with its name."""
    return zip(question_names(results, what, len(asked)), asked, strict=True)


def blind_page(blind: Blind, results: RunResults, asked: Sequence[Question]) -> str:
    """The page, which holds no names and no truth."""
    table = results.run.references
    real = {
        r["target"]: r["picture"] for r in table.filter(pc.equal(table["kind"], REAL)).to_pylist()
    }
    targets = results.run.record.jobs.targets[: len(LETTERS)]
    people = [(LETTERS[i], _source(real.get(target, b""))) for i, target in enumerate(targets)]
    context = {
        "title": blind.title,
        "people": people,
        "nobody": NOBODY,
        "who": [(name, _source(q.picture)) for name, q in _named(results, WHO, asked)],
        "alike": [
            (name, _source(q.picture), people[q.place][1])
            for name, q in _named(results, ALIKE, asked)
        ],
        "natural": [(name, _source(q.picture)) for name, q in _named(results, NATURAL, asked)],
    }
    return fill("blind.html.j2", context, scripts=["blind.js.j2"], pictures=True)


def blind_key(results: RunResults, asked: Sequence[Question]) -> dict[str, dict[str, Any]]:
    """What each question is in truth, by its name."""
    return {
        name: {"kind": q.kind, "place": q.place}
        for what in ASKED
        for name, q in _named(results, what, asked)
    }


def read_answers(storage: Storage, folder: str) -> dict[str, Any]:
    """What the answers below `folder` say, as estimates of a measure; empty where there are none.

    `KIND ID:n who` is the share of right answers, and `KIND ID:n alike` and `KIND ID:n natural` are those of yes,
    over the answers of all; with `average` in place of `ID:n` the unit is the attacked person.
    """
    files = storage.files(f"{folder}/answers", ".csv")
    if not files or not storage.exists(f"{folder}/blind-key.json"):
        return {}
    key: Mapping[str, Mapping[str, Any]] = storage.read_json(f"{folder}/blind-key.json")
    said = [row for name in files for row in _rows(storage.read(name))]
    return tallied(key, said)


def tallied(
    key: Mapping[str, Mapping[str, Any]], said: Iterable[tuple[str, str]]
) -> dict[str, dict[str, Any]]:
    """The estimates of pairs of a question and an answer; questions that the key lacks do not count."""
    hits: dict[tuple[str, str], list[tuple[bool, int]]] = {}
    for question, answer in said:
        if (truth := key.get(question)) is None or not answer:
            continue
        kind, place = str(truth["kind"]), int(truth["place"])
        what = question.partition("-")[0]
        right = NOBODY if kind == NULL else LETTERS[place]
        hit = answer == (right if what == WHO else "yes")
        hits.setdefault((kind, what), []).append((hit, place))
    found = {}
    for (kind, what), tries in hits.items():
        hit_N, place_N = (np.array(column) for column in zip(*tries, strict=True))
        found[f"{kind} average {what}"] = _plain(by_person(hit_N.astype(bool), place_N))
        for place in np.unique(place_N):
            mine_N = hit_N[place_N == place]
            found[f"{kind} ID:{place + 1} {what}"] = _plain(wilson(int(mine_N.sum()), len(mine_N)))
    return found


def _rows(content: bytes) -> Iterable[tuple[str, str]]:
    """Question and answer of each line of a person's file; other columns do not matter."""
    for row in csv.DictReader(io.StringIO(content.decode("utf-8", errors="replace"))):
        yield (row.get("question") or "").strip(), (row.get("answer") or "").strip()


def _source(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode() if picture else ""


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {k: math.nan if v is None else v for k, v in asdict(estimate).items()}
