"""The verdict in plain words, and everything that a reader must know before believing it."""

from __future__ import annotations

from inversionlab.metrics import wilson
from inversionlab.report.stripping import partial_protection
from inversionlab.results.models import undefended_accuracy
from inversionlab.results.ranking import Strongest
from inversionlab.results.rows import Row
from inversionlab.results.run_results import MAX_LOSS_POINTS, RunResults
from inversionlab.results.wording import estimate_text, interval, percent, points, words

WEAK = 0.8
"""A recognizer below this accuracy is called weak."""


def headline_sentence(results: RunResults) -> str:
    """How much leaks undefended, what the recommended setting leaves and costs, and which evaluator says so."""
    bare, null = results.undefended, results.null
    if bare is None:
        return "No attack on the undefended model has been evaluated yet, so nothing can be said."
    guess = f"; guessing without the model: {percent(null.success.value)}" if null else ""
    return (
        f"Undefended, the strongest attack ({words(bare.attack.attack)}) makes pictures that put the "
        f"right person among the top 5 of the evaluator “{_evaluator(bare)}” in "
        f"{percent(bare.success.value)} of the tries "
        f"(95% interval {interval(bare.success)}{guess}). {_defense(results, bare)}"
    )


def _defense(results: RunResults, bare: Strongest[Row]) -> str:
    if not any(r.kind == "defended" for r in results.rows):
        return "No defense was tried in this run."
    best, null = results.best, results.null
    if best is None:
        return (
            "No defended model that every attack is finished on stays within "
            f"{MAX_LOSS_POINTS:g} point of the undefended accuracy."
        )
    comparison = ""
    if not results.helps:
        comparison = ", which is not clearly less than undefended"
    elif null is not None and best.success.low <= null.success.high:
        comparison = ", which is not clearly above a guess without the model"
    # With `headline: worst` each model has the evaluator that finds most on it.
    other = f" by the evaluator “{_evaluator(best)}”" if best.evaluator != bare.evaluator else ""
    return (
        f"The {'recommended' if results.helps else 'best'} setting ({best.attack.model}) leaves "
        f"{percent(best.success.value)} ({interval(best.success)}){other} to its strongest attack "
        f"({best.attack.by}){comparison}, {_cost(results, best.attack)}."
    )


def _cost(results: RunResults, row: Row) -> str:
    before, after = undefended_accuracy(results.run), row.accuracy_all
    if before is None or after is None:
        return "at an accuracy cost that is not known"
    change = f"{percent(before.value)} → {percent(after.value)}"
    loss = points(row.loss_points)
    if loss == "0.0":
        return f"at no measurable cost in recognition accuracy ({change})"
    if loss.startswith("-"):
        return f"and recognition accuracy rises by {loss[1:]} points ({change})"
    return f"at a cost of {loss} points of recognition accuracy ({change})"


def _evaluator(found: Strongest[Row]) -> str:
    return words(found.attack.by_evaluator[found.evaluator].evaluator)


def caveats(results: RunResults) -> list[str]:
    """Reasons not to take the verdict at its word; empty where there is none."""
    return [
        *_baseline_caveats(results),
        *_recognizer_caveats(results),
        *_other_evaluators(results),
        *_defense_awareness(results),
        *partial_protection(results),
        *_progress_caveats(results),
        *results.run.record.warnings,
    ]


def defense_aware(results: RunResults) -> list[str]:
    """The attacks, in words, that are made against a defense and ran on a defended model."""
    ran = [r.cell for r in results.rows if r.kind == "defended" and r.done]
    return list(dict.fromkeys(words(cell.attack) for cell in ran if cell.knows_defense))


def _baseline_caveats(results: RunResults) -> list[str]:
    if results.undefended is None:
        return ["Without an attack on the undefended model there is nothing to compare with."]
    if results.null is None:
        return ["No null attack has been evaluated, so it is not known what a mere guess achieves."]
    attack, guess = results.undefended.success, results.null.success
    if attack.low > guess.high:
        return []
    return [
        "Even the strongest attack on the undefended model is not clearly above a guess without "
        f"the model: {estimate_text(attack)} against {estimate_text(guess)}. An attack that does not "
        "work says nothing about a defense; give the attacks more steps, a better generator "
        "or more targets first."
    ]


def _recognizer_caveats(results: RunResults) -> list[str]:
    found: list[str] = []
    victim = undefended_accuracy(results.run)
    if victim is None:
        found.append("The undefended model's accuracy is not known, so no cost can be given.")
    elif victim.value < WEAK:
        found.append(
            f"The undefended recognizer is weak: {estimate_text(victim)} of the test pictures are "
            "recognized. A model that has learned little gives little away, defended or not."
        )
    evaluators = results.run.evaluators.to_pylist()
    for evaluator in evaluators:
        total = evaluator["total"]
        quality = wilson(evaluator["correct"], total) if total else None
        if quality is not None and quality.value < WEAK:
            found.append(
                f"The evaluator “{words(evaluator['evaluator'])}” is weak: it recognizes "
                f"{estimate_text(quality)} of real pictures, so it misses reconstructions that a better one "
                "would recognize."
            )
    if len(evaluators) == 1:
        found.append(
            "There is one evaluator only; a second one, trained on other data, is missing."
        )
    return found


def _other_evaluators(results: RunResults) -> list[str]:
    """A line for each evaluator that recognizes clearly more than the one that chose the setting."""
    best, found = results.best, []
    if best is None:
        return []
    row = best.attack
    mine = [r for r in results.rows if r.protected == row.protected and r.kind == "defended"]
    for index, name in enumerate(results.evaluators):
        other = results.strongest(mine, index)
        if other is not None and other.success.low > best.success.high:
            found.append(
                f"At the recommended setting the evaluator “{words(name)}” recognizes "
                f"more than the one that chose it: {estimate_text(other.success)} ({other.attack.by}) "
                f"against {estimate_text(best.success)} ({row.by}). Take the higher figure."
            )
    return found


def _defense_awareness(results: RunResults) -> list[str]:
    ran = [r.cell for r in results.rows if r.kind == "defended" and r.done]
    if not ran or defense_aware(results):
        return []
    if any(cell.knows_defense is None for cell in ran):
        return [
            "This run's record comes from an older version, which did not note whether an attack knows of the "
            "defense."
        ]
    return [
        "No attack in this run knows of the defense. An attack that is made against it may find more."
    ]


def _progress_caveats(results: RunResults) -> list[str]:
    total = len(results.rows)
    missing = sum(not r.done for r in results.rows)
    partial = sum(bool(r.done) and not r.complete for r in results.rows)
    found = []
    if missing:
        found.append(f"{missing} of {total} combinations have not been attacked yet.")
    if partial:
        found.append(f"{partial} of {total} combinations are not finished.")
    return found
