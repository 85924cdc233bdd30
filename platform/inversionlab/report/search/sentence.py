"""A search's verdict in plain words, and what a reader must know before believing it."""

from __future__ import annotations

from collections.abc import Mapping

from inversionlab.report.search.wording import settings_text
from inversionlab.report.stripping import found_then, told
from inversionlab.results.holdout_audit import HoldoutAudit
from inversionlab.results.search import SHARES, SearchRecord, TrialRecord
from inversionlab.results.wording import MISSING, estimate_text, interval, percent, points, words

STRIPPED = ", stripped"
"""Ends the name of an attack in the record if its attacker removes the defense first."""


def search_verdict(search: SearchRecord, audit: HoldoutAudit | None = None) -> str:
    """Which setting is recommended, what it leaves and costs, and what the search spent."""
    best, done = search.best, sum(t.complete for t in search.trials)
    if not search.trials:
        return "No trial has begun, so nothing can be said."
    if not done:
        return f"None of the {_count(len(search.trials), 'trial')} has finished, so nothing can be said."
    if best is None or best.attack_success is None:
        return f"{_nothing_fits(search, done)} {_spent(search)}"
    success, strongest = best.attack_success, best.strongest
    by = (
        f"{words(strongest.attack)}, evaluator “{words(strongest.evaluator)}”"
        if strongest
        else "not named"
    )
    undefended = search.undefended.attack_success if search.undefended else None
    against, standing = "", ""
    if undefended is not None:
        against = f"; undefended: {percent(undefended.value)}, {interval(undefended)}"
        if success.high >= undefended.low:
            standing = ", which is not clearly less than undefended"
        elif search.guess is not None and success.low <= search.guess.success.high:
            standing = ", which is not clearly above a guess without the model"
    return (
        f"Of {_count(done, 'finished trial')}, number {best.number} "
        f"({settings_text(search, best)}) is recommended: its strongest attack "
        f"({by}) puts the right person among the top 5 in {percent(success.value)} of the "
        f"tries (95% interval {interval(success)}{against}){standing}, "
        f"{_price(search, best)}. {_spent(search)} {_honesty(search, done, audit)}"
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _nothing_fits(search: SearchRecord, done: int) -> str:
    bounds = constraint_text(search.constraints) or "none is set"
    text = f"None of {_count(done, 'finished trial')} meets the constraint ({bounds})"
    known = [
        (t.accuracy_loss, t)
        for t in search.trials
        if t.complete and t.accuracy_loss is not None and t.attack_success
    ]
    if not known:
        return f"{text}, so no setting is recommended."
    loss, nearest = min(known, key=lambda k: k[0])
    return (
        f"{text}, so no setting is recommended; the most accurate, number {nearest.number} "
        f"({settings_text(search, nearest)}), loses {points(loss)} points of accuracy and "
        f"leaves {estimate_text(nearest.attack_success)} to its strongest attack."
    )


def constraint_text(constraints: Mapping[str, float]) -> str:
    """The bounds in words: "accuracy loss at most 1 point"."""
    return ", ".join(f"{words(k)} at most {_bound(k, v)}" for k, v in constraints.items())


def _bound(metric: str, value: float) -> str:
    if metric == "accuracy_loss":
        return f"{value:g} {'point' if value == 1 else 'points'}"
    if metric == "log_distortion":
        return f"{value:g} nats"
    return percent(value) if metric in SHARES else f"{value:g}"


def _price(search: SearchRecord, trial: TrialRecord) -> str:
    if trial.accuracy_loss is None:
        return "at an accuracy cost that is not known"
    before = search.undefended.accuracy if search.undefended else None
    after = trial.accuracy
    change = f" ({percent(before.value)} → {percent(after.value)})" if before and after else ""
    loss = points(trial.accuracy_loss)
    if loss == "0.0":
        return f"at no measurable cost in recognition accuracy{change}"
    if loss.startswith("-"):
        return f"and recognition accuracy rises by {loss[1:]} points{change}"
    return f"at a cost of {loss} points of recognition accuracy{change}"


def _spent(search: SearchRecord) -> str:
    spent = search.trainings
    if spent is None:
        return f"It made {_count(len(search.trials), 'trial')}."
    return (
        f"The search trained {_count(spent.networks, 'network')} for "
        f"{_count(spent.trials, 'trial')}."
    )


def _honesty(search: SearchRecord, done: int, audit: HoldoutAudit | None) -> str:
    if audit is not None:
        lost = points(audit.loss)
        cost = f", {lost} points of accuracy lost" if lost != MISSING else ""
        return (
            f"Audited again on {search.unseen} that the search never saw, it leaves "
            f"{estimate_text(audit.success)}{cost}."
        )
    return (
        f"It was picked among {_count(done, 'trial')} on the same targets, so its figure is "
        f"optimistic; recommended.yaml audits it on {search.unseen} that the search never saw."
    )


def search_caveats(search: SearchRecord, audit: HoldoutAudit | None) -> list[str]:
    """Reasons not to take the verdict at its word; empty where there is none."""
    return [
        *_comparison_caveats(search),
        *_stripping_caveat(search),
        *_audit_caveats(search, audit),
        *_lost(search),
    ]


def _comparison_caveats(search: SearchRecord) -> list[str]:
    undefended, guess, found = search.undefended, search.guess, []
    if undefended is None or undefended.attack_success is None:
        found.append(
            "The undefended victim has not been attacked, so there is nothing to compare with."
        )
    elif guess is not None and undefended.attack_success.low <= guess.success.high:
        found.append(
            "Even undefended the strongest attack is not clearly above a guess without the model: "
            f"{estimate_text(undefended.attack_success)} against {estimate_text(guess.success)}. A defense cannot "
            "be judged by an attack that does not work."
        )
    if guess is None:
        found.append("No null attack was evaluated, so it is not known what a mere guess achieves.")
    best, paper, bound = search.best, search.paper, search.constraints.get("accuracy_loss")
    if best is None or paper is None or best is paper:
        return found
    if best.attack_success is None or paper.attack_success is None:
        return found
    allowed = bound is None or (paper.accuracy_loss is not None and paper.accuracy_loss <= bound)
    if allowed and best.attack_success.high >= paper.attack_success.low:
        found.append(
            "The recommended setting is not clearly safer than the paper’s own: "
            f"{estimate_text(best.attack_success)} against {estimate_text(paper.attack_success)}; the intervals "
            "overlap."
        )
    return found


def _stripping_caveat(search: SearchRecord) -> list[str]:
    """What is left of the recommended setting for an attacker who holds the weights, if part of it comes off."""
    best = search.best
    if best is None or not best.left:
        return []
    stripped = search.strongest({a: s for a, s in best.success.items() if a.endswith(STRIPPED)})
    found = ""
    if stripped is not None:
        attack = stripped.attack.removesuffix(STRIPPED)
        released = search.strongest({a: s for a, s in best.success.items() if a == attack})
        shares = [released.success.value] if released is not None else []
        found = found_then(attack, stripped.success.value, shares)
    name = f"“{words(search.defense)}”"
    return [told([name], best.protects or "", best.left, found, where="search")]


def _audit_caveats(search: SearchRecord, audit: HoldoutAudit | None) -> list[str]:
    success = search.best.attack_success if search.best else None
    if audit is None or success is None:
        return []
    found, bound = [], search.constraints.get("accuracy_loss")
    if audit.success.low > success.high:
        found.append(
            "Audited again, the recommended setting leaves clearly more than the search said: "
            f"{estimate_text(audit.success)} against {estimate_text(success)}."
        )
    if bound is not None and audit.loss > bound:
        found.append(
            f"Audited again it loses {points(audit.loss)} points of accuracy, more than the "
            f"{bound:g} allowed."
        )
    return found


def _lost(search: SearchRecord) -> list[str]:
    ends = {
        "error": "ended in an error; the table says why",
        "unfinished": "not finished",
    }
    counts = {s: sum(t.state == s for t in search.trials) for s in ends}
    total = _count(len(search.trials), "trial")
    return [f"{n} of {total} {ends[state]}." for state, n in counts.items() if n]
