"""A run's results as pandas tables. A column that is not known is NaN or None."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inversionlab.metrics import Estimate
from inversionlab.metrics.difference import Difference
from inversionlab.results.comparison_rows import ComparisonRow
from inversionlab.results.evaluator_results import BY_VICTIM, METRICS, EvaluatorResult
from inversionlab.results.models import MODEL_METRICS, Model, models_of
from inversionlab.results.rows import Row
from inversionlab.results.run_results import RunResults
from inversionlab.results.search import SearchRecord
from inversionlab.results.search_comparisons import search_comparisons

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


def attack_frame(results: RunResults) -> "pd.DataFrame":
    """A row for each attack on each model and for each null attack, as the headline evaluator sees them.

    The last rows are the ceiling and chance, whose `kind` is `real` and `chance`. Without evaluators they and the
    columns of success are left out.
    """
    place = results.headline_evaluator
    chosen = {id(found.attack) for found in _strongest(results)}
    rows, several = [], bool(results.run.record.seeds)
    for row in results.rows:
        judged = {}
        if results.evaluators:
            judged = _success(results, row, place) | {"strongest": id(row) in chosen}
            beats = results.beats_look_alike if row.kind == "undefended" else {}
            judged["beats_look_alike_p"] = beats.get(row.attack, math.nan)
        rows.append(
            {
                **_whom(row),
                **judged,
                "confidence": row.confidence,
                "queries": row.queries,
                "training_queries": row.training_queries,
                "steps": row.steps,
                "seconds": row.seconds,
                **_share("accuracy", row.accuracy_all),
                **(_spread("accuracy", row.accuracy_spread) if several else {}),
                "loss_points": row.loss_points,
                **(
                    {"victims": 0 if row.kind == "null" else len({c.seed for c in row.cells})}
                    if several
                    else {}
                ),
                "reconstructions": row.done,
                "complete": row.complete,
            }
        )
    for comparison in results.comparisons:
        known = {**_no_model(comparison), **_said(results, comparison, place)}
        unknown = dict.fromkeys(rows[0], math.nan) if rows else {}
        none = {"strongest": False, "queries": 0.0, "reconstructions": 0, "complete": True}
        none |= {"victims": 0} if several else {}
        rows.append({**unknown, **none, **known})
    return _frame(rows)


def evaluator_frame(results: RunResults) -> "pd.DataFrame":
    """A row for each attack, model and evaluator, then the ceiling and chance; none without evaluators."""
    rows = [
        {**_whom(row), **_success(results, row, place)}
        for row in results.rows
        for place in range(len(results.evaluators))
    ]
    rows += [
        {**_no_model(comparison), **_said(results, comparison, place)}
        for comparison in results.comparisons
        for place in range(len(results.evaluators))
    ]
    return _frame(rows)


def model_frame(results: RunResults) -> "pd.DataFrame":
    """A row for each released model: how well it recognizes, and what it needs; the undefended one first."""
    measured = models_of(results.run)
    rows, several = [], bool(results.run.record.seeds)
    for protected, attacked in results.models.items():
        first = next((row for row in attacked if not row.stripped), attacked[0])
        model = measured.get(protected, Model())
        rows.append(
            {
                "model": first.model,
                "defense": first.cell.title or first.cell.defense,
                **_share("accuracy", model.accuracy_all),
                **(_spread("accuracy", model.accuracy_spread) if several else {}),
                **_share("target_accuracy", model.accuracy_targets),
                **_lost(first.lost),
                **{metric.key: getattr(model, metric.key) for metric in MODEL_METRICS},
                "others_taken_of": model.others_taken_of,
                "networks": model.networks,
                "parameters": model.parameters,
                "milliseconds": model.milliseconds,
                "memory": model.memory,
                "recommended": protected == results.recommended,
            }
        )
    return _frame(rows)


def _lost(lost: Difference | None) -> dict[str, float]:
    """The points of accuracy lost, with the ends of their interval; NaN where they are not known."""
    ends = (math.nan,) * 3 if lost is None else (lost.value, lost.low, lost.high)
    names = ("loss_points", "loss_points_low", "loss_points_high")
    return {name: end * 100 for name, end in zip(names, ends, strict=True)}


def prior_frame(results: RunResults) -> "pd.DataFrame":
    """A row for each generator of the attackers' whose ceiling is measured; none where none was asked for."""
    return _frame(
        [
            {
                "generator": prior.record.label,
                "kind": prior.record.kind,
                "trained_on": prior.record.trained_on,
                "evaluator": prior.evaluator,
                **_share("top1", prior.top1),
                **_share("top5", prior.top5),
                **_share("real_top1", prior.real_top1),
                **_share("real_top5", prior.real_top5),
                "error": prior.error,
                "fit": prior.fit,
                "seconds": math.nan if prior.record.seconds is None else prior.record.seconds,
            }
            for prior in results.priors
        ]
    )


def trial_frame(search: SearchRecord) -> "pd.DataFrame":
    """A row for each trial of a search, for the undefended victim, and for what stands below the trials.

    Settings have their dotted paths. `state` says what a row is that is no trial: `undefended`, `null`, `real` or
    `chance`.
    """
    metrics = dict.fromkeys([*search.objectives, *search.constraints])
    further = [
        m for m in metrics if m not in ("accuracy", "accuracy_loss", "attack_success", "score")
    ]
    rows = []
    for trial in [*search.trials, *([search.undefended] if search.undefended else [])]:
        top = trial.strongest
        rows.append(
            {
                "search": search.search,
                "trial": math.nan if trial.number is None else trial.number,
                "state": "undefended" if trial.number is None else trial.state,
                **_share("accuracy", trial.accuracy),
                "loss_points": math.nan if trial.accuracy_loss is None else trial.accuracy_loss,
                **_share("attack_success", trial.attack_success),
                "attack": top.attack if top else None,
                "evaluator": top.evaluator if top else None,
                "score": math.nan if trial.score is None else trial.score,
                "targets": trial.targets,
                "reconstructions": trial.reconstructions,
                "seconds": math.nan if trial.seconds is None else trial.seconds,
                "networks_trained": len(trial.trained),
                "front": trial.number in search.front,
                "recommended": trial is search.best and search.helps,
                "paper": trial.paper,
                "fault": trial.fault,
                **{m: math.nan if (v := trial.metric(m)) is None else v for m in further},
                **{path: trial.settings.get(path) for path in search.axes},
            }
        )
    nothing = dict.fromkeys(("targets", "reconstructions", "networks_trained"), 0)
    nothing |= dict.fromkeys(("front", "recommended", "paper"), False)
    for row in search_comparisons(search):
        said = {"attack": row.name, "evaluator": search.decides, "state": row.kind, **nothing}
        found = {"search": search.search, **said, **_share("attack_success", row.success)}
        rows.append({**dict.fromkeys(rows[0] if rows else (), math.nan), "fault": "", **found})
    return _frame(rows)


def _frame(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    # Imported late: most of those who read results need no pandas.
    import pandas as pd

    return pd.DataFrame(rows)


def _strongest(results: RunResults) -> list[Any]:
    """The strongest attack on each model, and the strongest null attack."""
    found = [results.strongest(rows) for rows in results.models.values()]
    return [f for f in (*found, results.null) if f is not None]


def _whom(row: Row) -> dict[str, Any]:
    """Who attacks what."""
    return {
        "attack": row.attack,
        "model": row.label,
        "kind": row.kind,
        "defense": row.cell.title or row.cell.defense,
        "point": math.nan if row.point is None else row.point,
        "access": row.cell.access,
    }


def _no_model(comparison: ComparisonRow) -> dict[str, Any]:
    """What stands in place of attack and model in a row to compare with."""
    return {
        "attack": comparison.name,
        "model": "no model asked",
        "kind": comparison.kind,
        "defense": "",
        "point": math.nan,
        "access": "",
    }


def _said(results: RunResults, comparison: ComparisonRow, place: int) -> dict[str, Any]:
    """What one evaluator says of a row to compare with."""
    return {
        "evaluator": results.evaluators[place],
        **_tries(results, place),
        **_values(comparison.by_evaluator[place]),
    }


def _tries(results: RunResults, place: int) -> dict[str, Any]:
    """How many guesses a try has by an evaluator, and what chance makes of them."""
    return {"guesses": results.guesses, "chance": results.chance(place)}


def _success(results: RunResults, row: Row, place: int) -> dict[str, Any]:
    """What one evaluator says of a row's reconstructions, and of several victims the least and the most."""
    result = row.by_evaluator[place] if row.by_evaluator else None
    metrics: Mapping[str, Any] = {} if result is None else result.metrics
    return {
        "evaluator": None if result is None else result.evaluator,
        **_tries(results, place),
        **_values(metrics),
        **(_spreads(result) if results.run.record.seeds else {}),
    }


def _spreads(result: EvaluatorResult | None) -> dict[str, float]:
    known = {} if result is None else result.by_victim
    found: dict[str, float] = {}
    for key in BY_VICTIM:
        each = known.get(key)
        found |= _spread(key, (min(each), max(each)) if each else None)
    return found


def _spread(name: str, ends: tuple[float, float] | None) -> dict[str, float]:
    """A number's least and largest value on several victims."""
    least, most = ends or (math.nan, math.nan)
    return {f"{name}_least": least, f"{name}_most": most}


def _values(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every metric: a number, or a share and both ends of its interval."""
    found: dict[str, float] = {}
    for metric in METRICS:
        value = metrics.get(metric.key)
        if metric.share:
            found |= _share(metric.key, value)
        else:
            found[metric.key] = math.nan if value is None else value
    return found


def _share(name: str, estimate: Estimate | None) -> dict[str, float]:
    """A share and both ends of its 95 % interval."""
    known = estimate if estimate is not None and estimate.count else UNKNOWN
    return {name: known.value, f"{name}_low": known.low, f"{name}_high": known.high}
