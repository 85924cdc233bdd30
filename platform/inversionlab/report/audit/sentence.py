"""The verdict in plain words, and everything that a reader must know before believing it."""

from __future__ import annotations

from collections.abc import Sequence

from inversionlab.metrics import Estimate, wilson
from inversionlab.report.stripping import partial_protection
from inversionlab.results.models import undefended_accuracy
from inversionlab.results.recommendation import (
    MAX_LOSS_POINTS,
    BestSetting,
    choose,
    helps,
    null_level,
    strongest,
    undefended,
)
from inversionlab.results.rows import Row, headline_rows
from inversionlab.results.run_data import RunData
from inversionlab.results.wording import estimate_text, interval, percent, points, words

WEAK = 0.8
"""A recognizer below this accuracy is called weak."""


def headline_sentence(run: RunData) -> str:
    """How much leaks undefended, what the recommended setting leaves, at what cost, who judged."""
    return verdict(run, headline_rows(run, frechet=False))


def verdict(run: RunData, rows: Sequence[Row]) -> str:
    """`headline_sentence` on rows that are there already."""
    open_row = undefended(rows)
    if open_row is None:
        return "No attack on the undefended model has been judged yet, so nothing can be said."
    return f"{_leak(rows, open_row)} {_defense(run, rows)}"


def _leak(rows: Sequence[Row], open_row: Row) -> str:
    judgement, null = open_row.judgements[0], null_level(rows)
    guess = (
        f"; guessing without the model: {percent(null.judgements[0].top5.value)}" if null else ""
    )
    return (
        f"Undefended, the strongest attack ({words(open_row.attack)}) makes pictures that put the "
        f"right person among the top 5 of the judge “{words(judgement.evaluator)}” in "
        f"{percent(judgement.top5.value)} of the tries "
        f"(95% interval {interval(judgement.top5)}{guess})."
    )


def _defense(run: RunData, rows: Sequence[Row]) -> str:
    if not any(r.kind == "defended" for r in rows):
        return "No defense was tried in this run."
    best = choose(rows)
    if best is None:
        return (
            "No defended model that every attack is finished on stays within "
            f"{MAX_LOSS_POINTS:g} point of the undefended accuracy."
        )
    name = "recommended" if helps(best, rows) else "best"
    return (
        f"The {name} setting ({best.row.model}) leaves {percent(best.top5.value)} "
        f"({interval(best.top5)}) to its strongest attack ({best.row.by})"
        f"{_comparison(best, rows)}, {_cost(run, best)}."
    )


def _comparison(best: BestSetting, rows: Sequence[Row]) -> str:
    if not helps(best, rows):
        return ", which is not clearly less than undefended"
    null = null_level(rows)
    if null is not None and best.top5.low <= null.judgements[0].top5.high:
        return ", which is not clearly above a guess without the model"
    return ""


def _cost(run: RunData, best: BestSetting) -> str:
    before, after = undefended_accuracy(run), best.row.accuracy_all
    if before is None or after is None:
        return "at an accuracy cost that is not known"
    change = f"{percent(before.value)} → {percent(after.value)}"
    loss = points(best.row.loss_points)
    if loss == "0.0":
        return f"at no measurable cost in recognition accuracy ({change})"
    if loss.startswith("-"):
        return f"and recognition accuracy rises by {loss[1:]} points ({change})"
    return f"at a cost of {loss} points of recognition accuracy ({change})"


def caveats(run: RunData, rows: Sequence[Row]) -> list[str]:
    """Reasons not to take the verdict at its word; empty where there is none."""
    return [
        *_baseline_caveats(rows),
        *_model_caveats(run),
        *_judge_caveats(rows),
        *partial_protection(run, rows),
        *_progress_caveats(rows),
        *(str(line) for line in run.manifest.get("warnings") or []),
    ]


def _baseline_caveats(rows: Sequence[Row]) -> list[str]:
    open_row, null = undefended(rows), null_level(rows)
    if open_row is None:
        return ["Without an attack on the undefended model there is nothing to compare with."]
    if null is None:
        return ["No null attack has been judged, so it is not known what a mere guess achieves."]
    attack, guess = open_row.judgements[0].top5, null.judgements[0].top5
    if attack.low > guess.high:
        return []
    return [
        "Even the strongest attack on the undefended model is not clearly above a guess without "
        f"the model: {estimate_text(attack)} against {estimate_text(guess)}. A defense cannot be "
        "judged by an attack that does not work; give the attacks more steps, a better generator "
        "or more targets first."
    ]


def _model_caveats(run: RunData) -> list[str]:
    found: list[str] = []
    victim = undefended_accuracy(run)
    if victim is None:
        found.append("The undefended model's accuracy is not known, so no cost can be given.")
    elif victim.value < WEAK:
        found.append(
            f"The undefended recognizer is weak: {estimate_text(victim)} of the test pictures are "
            "recognized. A model that has learned little gives little away, defended or not."
        )
    judges = run.evaluators.to_pylist()
    for judge in judges:
        quality = wilson(judge["correct"], judge["total"]) if judge["total"] else None
        if quality is not None and quality.value < WEAK:
            found.append(_weak_judge(judge["evaluator"], quality))
    if len(judges) == 1:
        found.append("There is one judge only; a second one, trained on other data, is missing.")
    return found


def _judge_caveats(rows: Sequence[Row]) -> list[str]:
    """Whether another judge recognizes clearly more than the one that chose the setting."""
    best = choose(rows)
    if best is None:
        return []
    mine = [r for r in rows if r.protected == best.row.protected and r.kind == "defended"]
    found = []
    for index in range(1, len(best.row.judgements)):
        row = strongest(mine, index)
        if row is not None and row.judgements[index].top5.low > best.top5.high:
            judgement = row.judgements[index]
            found.append(
                f"At the recommended setting the judge “{words(judgement.evaluator)}” recognizes "
                f"more than the one that chose it: {estimate_text(judgement.top5)} ({row.by}) against "
                f"{estimate_text(best.top5)} ({best.row.by}). Take the higher figure."
            )
    return found


def _weak_judge(name: str, quality: Estimate) -> str:
    return (
        f"The judge “{words(name)}” is weak: it recognizes {estimate_text(quality)} of real "
        "pictures, so it misses reconstructions that a better one would recognize."
    )


def _progress_caveats(rows: Sequence[Row]) -> list[str]:
    missing = sum(not r.done for r in rows)
    partial = sum(bool(r.done) and not r.complete for r in rows)
    found = []
    if missing:
        found.append(f"{missing} of {len(rows)} combinations have not been attacked yet.")
    if partial:
        found.append(f"{partial} of {len(rows)} combinations are not finished.")
    return found
