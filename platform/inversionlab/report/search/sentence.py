"""A search's verdict in plain words, and what a reader must know before believing it."""

from collections.abc import Mapping

from inversionlab.metrics.difference import difference
from inversionlab.report.frame import Answer, answers_of, text_lines
from inversionlab.report.search.wording import settings_text
from inversionlab.report.stripping import stripped_success, stripping_line
from inversionlab.results.holdout_audit import HoldoutAudit
from inversionlab.results.search import SHARES, SearchRecord
from inversionlab.results.wording import percent, words

STRIPPED = ", stripped"
"""The end of an attack's name in the record if the attacker removes the defense first."""


def search_verdict(search: SearchRecord, audit: HoldoutAudit | None = None) -> str:
    """Says which setting is recommended, what it leaves and costs, and what the search spent."""
    return " ".join(answer.text for answer in search_answers(search, audit))


def search_answers(search: SearchRecord, audit: HoldoutAudit | None) -> list[Answer]:
    """The verdict, question by question."""
    complete = [t for t in search.trials if t.complete]
    known = [t for t in complete if t.accuracy_loss is not None and t.attack_success]
    context = {
        "search": search,
        "audit": audit,
        "done": len(complete),
        "nearest": min(known, key=lambda t: t.accuracy_loss or 0.0, default=None),
        "bounds": constraint_text(search.constraints),
        "settings_text": settings_text,
        "difference": difference,
    }
    return answers_of("search_verdict.txt.j2", context)


def constraint_text(constraints: Mapping[str, float]) -> str:
    """The bounds in words: "accuracy loss at most 1 point"."""
    texts = []
    for metric, value in constraints.items():
        bound = percent(value) if metric in SHARES else f"{value:g}"
        if metric == "accuracy_loss":
            bound += " point" if value == 1 else " points"
        elif metric == "log_distortion":
            bound += " nats"
        texts.append(f"{words(metric)} at most {bound}")
    return ", ".join(texts)


def search_caveats(search: SearchRecord, audit: HoldoutAudit | None) -> list[str]:
    """Reasons to doubt the verdict; empty where there is none."""
    context = {
        "search": search,
        "audit": audit,
        "max_loss": search.constraints.get("accuracy_loss"),
        "partial": _partial_protection(search),
        "difference": difference,
    }
    return text_lines("search_caveats.txt.j2", context)


def _partial_protection(search: SearchRecord) -> str:
    """What is left of the recommended setting for an attacker who holds the weights, if part of it comes off."""
    best = search.best
    if best is None or not best.left:
        return ""
    stripped = search.strongest({a: s for a, s in best.success.items() if a.endswith(STRIPPED)})
    found = ""
    if stripped is not None:
        attack = stripped.attack.removesuffix(STRIPPED)
        released = search.strongest({a: s for a, s in best.success.items() if a == attack})
        shares = [released.success.value] if released is not None else []
        found = stripped_success(attack, stripped.success.value, shares, search.guesses)
    name = f"“{words(search.defense)}”"
    return stripping_line([name], best.protects or "", best.left, found, where="search")
