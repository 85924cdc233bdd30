"""The verdict in plain words, and everything that a reader must know before believing it."""

from inversionlab.report.frame import Answer, answers_of, text_lines
from inversionlab.report.stripping import partial_protection
from inversionlab.results.comparison_rows import recognized
from inversionlab.results.models import undefended_accuracy
from inversionlab.results.run_record import CellRecord
from inversionlab.results.run_results import MAX_LOSS_POINTS, RunResults
from inversionlab.results.wording import listed, percent, words

WEAK = 0.8
ALONE = (
    "Behind {defenses}, each of {count} attacked people has a network of their own. An attack on a person meets "
    "that person’s network, and accuracy is the mean of these networks."
)
POOLED = (
    "Every figure is over {count} victims, trained alike from the seeds {seeds}. Shares are those of all tries, "
    "and their intervals count people; brackets span the least and the most accurate victim."
)


def headline_sentence(results: RunResults) -> str:
    """Says how much leaks undefended, what the recommended setting leaves and costs, and by which evaluator.

    Without private pictures it says that this cannot be judged.
    """
    return " ".join(answer.text for answer in run_answers(results))


def run_answers(results: RunResults) -> list[Answer]:
    """The headline, question by question: how much leaks, against whom, how sure that is, and what to do."""
    if not results.judged:
        return answers_of("unjudged.txt.j2", {"results": results})
    bare, weaker = results.undefended, {}
    if bare is not None:
        rows = [row for row in results.rows if row.kind == "undefended" and not row.cell.floor]
        rows = [row for row in rows if not row.inverts_outputs]
        for access in dict.fromkeys(row.cell.access for row in rows):
            found = results.strongest(row for row in rows if row.cell.access == access)
            if access and access != bare.attack.cell.access and found is not None:
                weaker[access] = found
    context = {
        "results": results,
        "victim": undefended_accuracy(results.run),
        "max_loss": MAX_LOSS_POINTS,
        "weaker": weaker,
        "people": len(bare.attack.by_evaluator[bare.evaluator].success_of) if bare else 0,
        "quality": recognized(results.run).get(results.evaluators[bare.evaluator])
        if bare
        else None,
    }
    return answers_of("verdict.txt.j2", context)


def pooled_note(results: RunResults) -> str:
    """What figures over several models mean; "" where there is one of a kind."""
    record = results.run.record
    seeds, said = record.seeds, []
    if seeds:
        named = listed([str(seed) for seed in seeds])
        said.append(POOLED.format(count=len(seeds), seeds=named))
    if record.alone:
        titles = dict.fromkeys(c.title for c in record.cells if c.target is not None)
        said.append(ALONE.format(count=len(record.alone), defenses=listed(list(titles))))
    return " ".join(said)


def prior_lines(results: RunResults) -> list[str]:
    """A line that names the attacks near the ceilings of their generators; none where there are no such."""
    by_prior: dict[str, list[str]] = {}
    for row, prior in results.near_ceiling:
        label = f"{prior.record.label} ({percent(prior.success(results.guesses).value)})"
        by_prior.setdefault(label, []).append(words(row.attack))
    if not by_prior:
        return []
    found = "; ".join(f"{listed(attacks)} on {label}" for label, attacks in by_prior.items())
    return [
        f"These attacks are near the ceiling of their generator by top-{results.guesses}: {found}. A better "
        "generator may find more there."
    ]


def caveats(results: RunResults, *, names: bool = True) -> list[str]:
    """Reasons to doubt the verdict; empty where there is none. Without `names` nobody is named in them."""
    best = results.best
    mine = [r for r in results.rows if best and r.protected == best.attack.protected]
    others = {name: results.strongest(mine, i) for i, name in enumerate(results.evaluators)}
    context = {
        "results": results,
        "given": results.run.record.given,
        "names": names,
        "victim": undefended_accuracy(results.run),
        "weak": WEAK,
        "qualities": recognized(results.run),
        # Evaluators that recognize clearly more than the one that chose the setting.
        "higher": {
            n: o for n, o in others.items() if o and best and o.success.low > best.success.high
        },
        "attacked": _defended_cells(results),
        "aware": defense_aware(results),
        "wanted": list(
            dict.fromkeys(f"`{c.aware_attack}`" for c in _defended_cells(results) if c.aware_attack)
        ),
        "partial": partial_protection(results),
    }
    return [*text_lines("caveats.txt.j2", context), *results.run.record.warnings]


def defense_aware(results: RunResults) -> list[str]:
    """The attacks, in words, that are made against a defense and ran on a defended model."""
    aware = (words(c.attack) for c in _defended_cells(results) if c.knows_defense)
    return list(dict.fromkeys(aware))


def _defended_cells(results: RunResults) -> list[CellRecord]:
    """The attacks on defended models of which reconstructions are stored."""
    return [r.cell for r in results.rows if r.kind == "defended" and r.done]
