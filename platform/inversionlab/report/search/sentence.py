"""A search's verdict in plain words, and what a reader must know before believing it."""

from __future__ import annotations

from collections.abc import Mapping

from inversionlab.report.search.wording import settings_text
from inversionlab.report.stripping import found_then, told
from inversionlab.results.holdout_audit import HoldoutAudit
from inversionlab.results.search import SHARES, Search, Trial
from inversionlab.results.wording import MISSING, estimate_text, interval, percent, points, words

STRIPPED = ", stripped"
"""What a record puts behind an attack whose attacker took the defense off first."""


def search_verdict(search: Search, rejudged: HoldoutAudit | None = None) -> str:
    """Which setting is recommended, what it leaves and costs, and what the search spent."""
    best, done = search.recommended, sum(t.complete for t in search.trials)
    if not search.trials:
        return "No trial has begun, so nothing can be said."
    if not done:
        return f"None of the {_count(len(search.trials), 'trial')} has finished, so nothing can be said."
    if best is None or best.success is None:
        return f"{_nothing_fits(search, done)} {_training_queue(search)}"
    return (
        f"Of {_count(done, 'finished trial')}, number {best.number} "
        f"({settings_text(search, best)}) is recommended: its strongest attack "
        f"({_by(best)}) puts the right person among the top 5 in {percent(best.success.value)} of the "
        f"tries (95% interval {interval(best.success)}{_against(search)}){_standing(search)}, "
        f"{_price(search, best)}. {_training_queue(search)} {_honesty(search, done, rejudged)}"
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _by(trial: Trial) -> str:
    return f"{words(trial.attack) or 'not named'}, judge “{words(trial.judge)}”"


def constraint_text(constraints: Mapping[str, float]) -> str:
    """The bounds in words: "accuracy loss at most 1 point"."""
    return ", ".join(f"{words(k)} at most {_bound(k, v)}" for k, v in constraints.items())


def _bound(metric: str, value: float) -> str:
    if metric == "accuracy_loss":
        return f"{value:g} {'point' if value == 1 else 'points'}"
    if metric == "log_distortion":
        return f"{value:g} nats"
    return percent(value) if metric in SHARES else f"{value:g}"


def _nothing_fits(search: Search, done: int) -> str:
    bounds = constraint_text(search.record["constraints"] or {}) or "none is set"
    known = [t for t in search.trials if t.complete and t.loss is not None and t.success]
    text = f"None of {_count(done, 'finished trial')} meets the constraint ({bounds})"
    if not known:
        return f"{text}, so no setting is recommended."
    nearest = min(known, key=lambda t: t.loss or 0.0)
    assert nearest.loss is not None
    return (
        f"{text}, so no setting is recommended; the most accurate, number {nearest.number} "
        f"({settings_text(search, nearest)}), loses {points(nearest.loss)} points of accuracy and "
        f"leaves {estimate_text(nearest.success)} to its strongest attack."
    )


def _against(search: Search) -> str:
    open_trial = search.undefended
    if open_trial is None or open_trial.success is None:
        return ""
    leak = open_trial.success
    return f"; undefended: {percent(leak.value)}, {interval(leak)}"


def _standing(search: Search) -> str:
    best, open_trial = search.recommended, search.undefended
    if best is None or best.success is None:
        return ""
    if open_trial is None or open_trial.success is None:
        return ""
    if best.success.high >= open_trial.success.low:
        return ", which is not clearly less than undefended"
    if search.null is not None and best.success.low <= search.null[2].high:
        return ", which is not clearly above a guess without the model"
    return ""


def _price(search: Search, trial: Trial) -> str:
    if trial.loss is None:
        return "at an accuracy cost that is not known"
    open_trial, after = search.undefended, trial.accuracy
    before = open_trial.accuracy if open_trial is not None else None
    change = f" ({percent(before.value)} → {percent(after.value)})" if before and after else ""
    loss = points(trial.loss)
    if loss == "0.0":
        return f"at no measurable cost in recognition accuracy{change}"
    if loss.startswith("-"):
        return f"and recognition accuracy rises by {loss[1:]} points{change}"
    return f"at a cost of {loss} points of recognition accuracy{change}"


def _training_queue(search: Search) -> str:
    spent = search.record["trainings"] or {}
    trials, networks = spent.get("trials", len(search.trials)), spent.get("networks")
    if networks is None:
        return f"It made {_count(trials, 'trial')}."
    return f"The search trained {_count(networks, 'network')} for {_count(trials, 'trial')}."


def _honesty(search: Search, done: int, rejudged: HoldoutAudit | None) -> str:
    if rejudged is not None:
        lost = points(rejudged.loss)
        cost = f", {lost} points of accuracy lost" if lost != MISSING else ""
        return (
            f"Judged again on {search.unseen} that the search never saw, it leaves "
            f"{estimate_text(rejudged.success)}{cost}."
        )
    return (
        f"It was picked among {_count(done, 'trial')} on the same targets, so its figure is "
        f"optimistic; recommended.yaml judges it on {search.unseen} that the search never saw."
    )


def search_caveats(search: Search, rejudged: HoldoutAudit | None) -> list[str]:
    """Reasons not to take the verdict at its word; empty where there is none."""
    return [
        *_comparison_caveats(search),
        *_stripping_caveat(search),
        *_rejudged_caveats(search, rejudged),
        *_lost(search),
    ]


def _comparison_caveats(search: Search) -> list[str]:
    open_trial, null, found = search.undefended, search.null, []
    if open_trial is None or open_trial.success is None:
        found.append(
            "The undefended victim has not been attacked, so there is nothing to compare with."
        )
    elif null is not None and open_trial.success.low <= null[2].high:
        found.append(
            "Even undefended the strongest attack is not clearly above a guess without the model: "
            f"{estimate_text(open_trial.success)} against {estimate_text(null[2])}. A defense cannot "
            "be judged by an attack that does not work."
        )
    if null is None:
        found.append("No null attack was judged, so it is not known what a mere guess achieves.")
    return found + _paper_caveat(search)


def _paper_caveat(search: Search) -> list[str]:
    best, paper = search.recommended, search.paper
    if best is None or paper is None or best is paper or not (best.success and paper.success):
        return []
    allowed = search.max_loss is None or (paper.loss is not None and paper.loss <= search.max_loss)
    if best.success.high < paper.success.low or not allowed:
        return []
    return [
        "The recommended setting is not clearly safer than the paper’s own: "
        f"{estimate_text(best.success)} against {estimate_text(paper.success)}; the intervals overlap."
    ]


def _stripping_caveat(search: Search) -> list[str]:
    """What is left of the recommended setting for an attacker who holds the weights, where less is."""
    best = search.recommended
    if best is None or not best.left:
        return []
    bare = {a: s for a, s in best.shares.items() if a.endswith(STRIPPED)}
    found = ""
    if bare:
        strongest = max(bare, key=bare.__getitem__)
        attack = strongest.removesuffix(STRIPPED)
        released = [best.shares[attack]] if attack in best.shares else []
        found = found_then(attack, bare[strongest], released)
    name = f"“{words(search.defense)}”"
    return [told([name], best.protects, best.left, found, where="search")]


def _rejudged_caveats(search: Search, rejudged: HoldoutAudit | None) -> list[str]:
    best = search.recommended
    if rejudged is None or best is None or best.success is None:
        return []
    found, bound = [], search.max_loss
    if rejudged.success.low > best.success.high:
        found.append(
            "Judged again, the recommended setting leaves clearly more than the search said: "
            f"{estimate_text(rejudged.success)} against {estimate_text(best.success)}."
        )
    if bound is not None and rejudged.loss > bound:
        found.append(
            f"Judged again it loses {points(rejudged.loss)} points of accuracy, more than the "
            f"{bound:g} allowed."
        )
    return found


def _lost(search: Search) -> list[str]:
    words_of = {
        "error": "ended in an error; the table says why",
        "unfinished": "not finished",
    }
    counts = {s: sum(t.state == s for t in search.trials) for s in words_of}
    total = _count(len(search.trials), "trial")
    return [f"{n} of {total} {words_of[state]}." for state, n in counts.items() if n]
