"""The recommended setting and the verdict, worked out by hand."""

from __future__ import annotations

import dataclasses
import html

import pyarrow as pa
import pytest

from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import caveats, headline_sentence
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import interval, words
from tests.report.fake_run import (
    EVALUATOR_NAMES,
    RECONSTRUCTIONS,
    cells_of,
    fake_run,
    with_record,
)
from tests.report.hand_run import hand_run, tries

HIT, MISS = 1, 30


def hits(count: int, of: int = 20) -> list[int]:
    return [HIT] * count + [MISS] * (of - count)


def ranks(**by_model: tuple[int, int]) -> dict[tuple[str, str], list[int]]:
    """Two attacks per model: their counts of hits out of 20; "none" and "a25" for alpha 0.25."""
    names = {m: "none" if m == "none" else f"0.{m[1:]}" for m in by_model}
    found = {("first", names[m]): hits(a) for m, (a, _) in by_model.items()}
    found |= {("second", names[m]): hits(b) for m, (_, b) in by_model.items()}
    return found | {("random_public", "none"): hits(1)}


def test_lowest_top5_of_the_strongest_attack_within_one_point():
    run = hand_run(
        # 0.25: first 2/20, second 9/20 -> 9; 0.5: 5 and 6 -> 6; 0.1: 1 and 1 but 1.1 points lost
        ranks(none=(18, 12), a25=(2, 9), a5=(5, 6), a1=(1, 1)),
        {"none": 950, "0.25": 949, "0.5": 940, "0.1": 939},
    )
    best = RunResults.of(run).best
    assert best is not None
    assert best.attack.point == 0.5
    assert best.attack.attack == "second"
    assert best.success.value == 6 / 20
    assert abs(best.attack.loss_points - 1.0) < 1e-9


def test_equal_leakage_goes_to_the_more_accurate_model():
    run = hand_run(
        ranks(none=(18, 12), a25=(4, 2), a5=(4, 3)), {"none": 950, "0.25": 945, "0.5": 948}
    )
    assert RunResults.of(run).best.attack.point == 0.5


def test_a_model_that_an_attack_has_not_finished_is_not_recommended():
    found = ranks(none=(18, 12), a25=(1, 1), a5=(5, 6))
    found["second", "0.25"] = hits(0, of=3)
    run = hand_run(found, {"none": 950, "0.25": 950, "0.5": 950})
    assert RunResults.of(run).best.attack.point == 0.5
    assert any("not finished" in line for line in caveats(RunResults.of(run)))


def test_no_recommendation_where_everything_costs_too_much():
    run = hand_run(ranks(none=(18, 12), a5=(1, 1)), {"none": 950, "0.5": 900})
    assert RunResults.of(run).best is None
    assert "No defended model" in headline_sentence(RunResults.of(run))


def test_the_sentence_says_the_numbers():
    run = hand_run(ranks(none=(18, 12), a5=(1, 2)), {"none": 950, "0.5": 943})
    text = headline_sentence(RunResults.of(run))
    # 18/20 and 2/20, two tries at each of 10 people; the null has 1/20; (950 - 943)/1000 = 0.7 points
    many, few = (interval(tries(*[True] * n, *[False] * (20 - n))) for n in (18, 2))
    for part in ("90.0%", many, "5.0%", "10.0%", few, "0.7 points", "95.0% → 94.3%"):
        assert part in text
    assert "not clearly less" not in text
    assert "not clearly above a guess" in text


def test_a_defense_helps_if_less_is_found_on_the_same_people():
    # 10 people: 9 are found undefended and 4 defended. The intervals meet, but 5 people differ one way.
    run = hand_run(ranks(none=(18, 12), a5=(8, 4)), {"none": 950, "0.5": 950})
    results = RunResults.of(run)
    assert results.best.success.high > results.undefended.success.low
    assert results.helps
    # Of two finalists either may differ by chance: 2/32 is not clear any more.
    run = hand_run(
        ranks(none=(18, 12), a5=(8, 4), a25=(8, 6)), {"none": 950, "0.5": 950, "0.25": 950}
    )
    assert not RunResults.of(run).helps
    # The difference alone would be clear, so the sentence says why it is not.
    assert RunResults.of(run).spared(RunResults.of(run).best).clear
    assert "; p = 0.062 as the best of 2)" in headline_sentence(RunResults.of(run))


def test_a_defense_without_effect_is_not_recommended():
    run = hand_run(ranks(none=(18, 12), a5=(16, 12)), {"none": 950, "0.5": 950})
    assert "not clearly less than undefended" in headline_sentence(RunResults.of(run))
    assert "no measurable cost" in headline_sentence(RunResults.of(run))
    assert "recommended setting" not in headline_sentence(RunResults.of(run))
    assert ">recommended<" not in render(run, pictures=False)


def test_no_warning_where_there_is_no_reason():
    run = hand_run(ranks(none=(18, 12), a5=(5, 6)), {"none": 950, "0.5": 943})
    assert caveats(RunResults.of(run)) == [
        "There is only one evaluator. A second one, trained on other data, is missing."
    ]


def test_warnings_for_a_weak_attack_victim_and_evaluator():
    run = hand_run(ranks(none=(2, 1), a5=(1, 1)), {"none": 700, "0.5": 700}, evaluator_correct=500)
    text = " ".join(caveats(RunResults.of(run)))
    for part in ("not clearly above a guess", "recognizer is weak", "evaluator “same” is weak"):
        assert part in text


def test_a_missing_null_and_a_missing_baseline_are_caveats():
    run = hand_run({("first", "none"): hits(18)}, {"none": 950})
    assert any("null attack" in line for line in caveats(RunResults.of(run)))
    run = hand_run({("first", "0.5"): hits(18)}, {"0.5": 950})
    assert any("nothing to compare" in line for line in caveats(RunResults.of(run)))
    assert "nothing can be said" in headline_sentence(RunResults.of(run))


def two_evaluators(headline: str) -> RunResults:
    """The second evaluator finds more, and finds most by the first attack."""
    run = fake_run(alphas=(0.6,), attacks=("latent_white_box", "label_only"), targets=1, repeats=1)
    ranks = {
        ("latent_white_box", "none"): (30, 1),
        ("label_only", "none"): (1, 30),
        ("latent_white_box", "mix0.6"): (30, 1),
        ("label_only", "mix0.6"): (30, 30),
    }
    rows = [
        {
            "cell": f"{attack}@{model}",
            "target": i,
            "person": f"p{i}",
            "repeat": 0,
            "verdicts": [
                {"evaluator": name, "rank": rank if name == "person_disjoint" or i < 9 else 30}
                for name, rank in zip(EVALUATOR_NAMES, found, strict=True)
            ],
        }
        for (attack, model), found in ranks.items()
        for i in range(10)
    ]
    table = pa.Table.from_pylist(rows, RECONSTRUCTIONS)
    run = dataclasses.replace(run, reconstructions=table)
    return RunResults.of(with_record(run, experiment={"headline": headline}))


@pytest.mark.parametrize(
    ("headline", "attack", "evaluator", "share", "left"),
    [("first", "label_only", 0, 0.9, 0.0), ("worst", "latent_white_box", 1, 1.0, 1.0)],
)
def test_the_headline_evaluator_decides_everywhere(headline, attack, evaluator, share, left):
    results = two_evaluators(headline)
    bare, best = results.undefended, results.best
    assert (bare.attack.attack, bare.evaluator, bare.success.value) == (attack, evaluator, share)
    assert best.success.value == left
    assert results.headline_evaluator == evaluator
    name = words(EVALUATOR_NAMES[evaluator])
    text = headline_sentence(results)
    assert f"strongest attack ({words(attack)})" in text
    assert f"in {share:.1%} of the tries" in text
    assert f"the evaluator “{name}” ranks them" in text
    page = html.unescape(render(results.run, pictures=False))
    decides = (
        "The evaluator that finds most"
        if headline == "worst"
        else f"The first evaluator (“{name}”)"
    )
    assert f"{decides} decides which attack is strongest" in page
    assert (results.best.evaluator, results.helps) == (evaluator, headline == "first")
    # Another evaluator is a caveat only where it does not decide itself.
    stated = any("recognizes more than the one that chose it" in line for line in caveats(results))
    assert stated is (headline == "first")


def test_each_evaluator_has_its_own_strongest_attack():
    results = two_evaluators("first")
    rows = [r for r in results.rows if r.kind == "undefended"]
    found = [results.strongest(rows, evaluator) for evaluator in (0, 1)]
    assert [(f.attack.attack, f.evaluator) for f in found] == [
        ("label_only", 0),
        ("latent_white_box", 1),
    ]


@pytest.mark.parametrize(
    ("knows", "caveat", "stated"),
    [
        (False, "No attack in this run knows about the defense", False),
        (None, "comes from an older version", False),
        (True, None, True),
    ],
)
def test_the_page_says_whether_an_attack_knew_about_the_defense(knows, caveat, stated):
    run = hand_run(ranks(none=(18, 12), a5=(5, 6)), {"none": 950, "0.5": 943})
    run = with_record(run, cells=[{**c, "knows_defense": knows} for c in cells_of(run)])
    lines = [line for line in caveats(RunResults.of(run)) if "about the defense" in line]
    assert (caveat in lines[0]) if caveat else lines == []
    page = html.unescape(render(run, pictures=False))
    assert ("Attacks that know about the defense: first, second." in page) is stated


def test_the_page_names_the_attack_that_would_know_of_the_defense():
    run = hand_run(ranks(none=(18, 12), a5=(5, 6)), {"none": 950, "0.5": 943})
    changed = {"knows_defense": False, "aware_attack": "multi_mode"}
    run = with_record(run, cells=[{**c, **changed} for c in cells_of(run)])
    assert any("may find more: add `multi_mode`." in line for line in caveats(RunResults.of(run)))


def test_without_a_defended_model_no_attack_needs_to_know_a_defense():
    run = fake_run(alphas=(), targets=3, repeats=1)
    assert not any("about the defense" in line for line in caveats(RunResults.of(run)))
