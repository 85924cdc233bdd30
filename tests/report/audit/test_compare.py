"""Defenses side by side; whatever a white-box attacker removes is reported."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re

import pyarrow as pa
import pytest

from inversionlab.report.audit.compare import columns, side_by_side
from inversionlab.report.audit.curves import end_point, success_curves
from inversionlab.report.audit.page import render
from inversionlab.report.audit.sentence import caveats, headline_sentence
from inversionlab.report.audit.trade import trade_offs
from inversionlab.report.stripping import partial_protection
from inversionlab.results.load import RunData
from inversionlab.results.models import models_of
from inversionlab.results.rows import headline_rows
from inversionlab.results.run_results import RunResults
from inversionlab.results.wording import IF_STRIPPED, interval
from tests.report.fake_defenses import ATTACKS, defended_run
from tests.report.fake_run import cells_of, fake_run, with_record
from tests.report.hand_run import hand_run, tries


@pytest.fixture(scope="module")
def defended() -> RunData:
    return defended_run()


@pytest.fixture(scope="module")
def page(defended) -> str:
    return html.unescape(render(defended, pictures=False))


def stripped_by_hand(released: int, bare: int, *, total: int = 20) -> RunData:
    """One attack on the victim and on a noise that leaves `released` of 20 hits, and on its stripped rest.

    The stripped model's cell is the victim's own.
    """
    hits = {"none": bare, "0.5": released}
    ranks = {("a", m): [1] * n + [30] * (total - n) for m, n in hits.items()}
    run = hand_run(ranks | {("random_latent", "none"): [30] * total}, {"none": 950, "0.5": 950})
    cells = cells_of(run)
    (cell,) = [c for c in cells if c["protected"] == "0.5"]
    cell |= {"point": None, "defense": "uniform_noise", "title": "noise_at_half"}
    cells.append({**cell, "cell": "a/none", "stripped": True})
    return with_record(run, cells=cells, sweep=None)


def test_a_cell_that_stands_twice_is_two_rows():
    rows = headline_rows(stripped_by_hand(2, 18))
    assert [r.label for r in rows[:3]] == ["undefended", "noise at half", "noise at half, stripped"]
    assert [r.by_evaluator[0].success.value for r in rows[:3]] == [0.9, 0.1, 0.9]
    assert [r.stripped for r in rows] == [False, False, True, False]
    # Its users have what was released: its accuracy, not the victim's.
    assert rows[2].protected == "0.5"
    assert rows[2].kind == "defended"


def test_the_strongest_attack_on_a_model_takes_off_what_comes_off():
    run = stripped_by_hand(2, 18)
    results = RunResults.of(run)
    assert results.best.success.value == 0.9
    text = headline_sentence(results)
    share = f"90.0% ({interval(tries(*[True] * 18, *[False] * 2))})"
    assert f"(noise at half) leaves {share} to its strongest attack (a, {IF_STRIPPED})" in text
    assert "recommended" not in text
    assert f"attack (a, {IF_STRIPPED})" in html.unescape(render(run, pictures=False))


def test_a_line_says_which_views_a_defense_protects(defended):
    results = RunResults.of(defended)
    (line,) = partial_protection(results)
    rows = [r for r in results.rows if r.model == "Ad-mi"]
    bare = results.strongest(r for r in rows if r.stripped).attack
    (released,) = [r for r in rows if r.attack == bare.attack and not r.stripped]
    assert line.startswith(
        "“Ad-mi” protects only against attackers who see no more than scores or labels"
    )
    assert "left with the undefended model" in line
    for row in (bare, released):
        assert f"{row.by_evaluator[0].success.value:.1%}" in line
    assert line in caveats(results)


def test_a_line_says_that_nobody_held_the_weights(defended):
    seen = [c for c in cells_of(defended) if c["access"] != "white box"]
    (line,) = partial_protection(RunResults.of(with_record(defended, cells=seen)))
    assert line.endswith("Nobody who holds the weights has attacked it in this run.")


def test_defenses_that_come_off_alike_and_were_not_attacked_share_a_line(defended):
    twin = [
        {**c, "title": "Ad-two", "label": "two", "protected": "twin"}
        for c in cells_of(defended)
        if c["protected"] == "noise"
    ]
    cells = [c for c in [*cells_of(defended), *twin] if c["access"] != "white box"]
    models = defended.models.to_pylist()
    models += [{**m, "protected": "twin"} for m in models if m["protected"] == "noise"]
    run = dataclasses.replace(
        with_record(defended, cells=cells),
        models=pa.Table.from_pylist(models, schema=defended.models.schema),
    )
    (line,) = partial_protection(RunResults.of(run))
    assert line.startswith("“Ad-mi” and “Ad-two” protect only against")
    assert line.endswith("has attacked them in this run.")


def test_a_sweep_of_such_defenses_is_one_line():
    line = partial_protection(RunResults.of(swept_noise()))
    assert len(line) == 1
    assert " to " in line[0]


def swept_noise(values=(0.001, 0.1, 10.0)) -> RunData:
    """A sweep of a noise whose white-box attacker is left with the victim."""
    run = fake_run(alphas=values, attacks=("latent_white_box", "label_only"), targets=4, repeats=2)
    cells = []
    for cell in cells_of(run):
        swept = cell["point"] is not None
        cells.append({**cell, "defense": "uniform_noise"} if swept else cell)
        if swept and cell["attack"] == "latent_white_box":
            cells.append({**cells[-1], "cell": "latent_white_box@none", "stripped": True})
    sweep = {"setting": "defense.amplitude", "values": [0.0, *values], "marked": 0.1}
    return with_record(run, cells=cells, sweep=sweep)


def test_a_sweep_has_a_line_for_the_released_and_the_stripped_model():
    figure = success_curves(RunResults.of(swept_noise()))[0]
    lines = dict.fromkeys(row["series"] for row in figure.rows if row["place"] != "level")
    assert list(lines) == ["latent white box", "latent white box, stripped", "label only"]
    bare = {row["y"] for row in figure.rows if row["series"] == "latent white box, stripped"}
    assert len(bare) == 1  # the victim's rows, at each value
    assert '"type": "log"' in json.dumps(figure.spec)
    assert figure.numbers.rows[-1][0] == "undefended"


def test_what_is_released_and_what_is_left_of_it_stand_at_the_same_cost():
    results = RunResults.of(swept_noise())
    trade = trade_offs(results)[0]
    assert trade.title == "Trade-off, evaluator “same people”"
    (bare,) = [row for row in trade.rows if row["series"] == "undefended"]
    assert bare["x"] == results.undefended.attack.loss_points == 0
    swept = [row for row in trade.rows if row["series"] == "uniform noise"]
    assert {row["hollow"] for row in swept} == {0, 1}
    filled, hollow = (sorted(r["x"] for r in swept if r["hollow"] == h) for h in (0, 1))
    assert filled == hollow
    # Each value of the sweep is named once.
    assert sorted(float(row["name"]) for row in swept if row["name"]) == [0.001, 0.1, 10]
    assert IF_STRIPPED in next(row["said"] for row in swept if not row["hollow"])
    assert "Hollow" in trade.about


def test_models_that_coincide_in_the_trade_off_say_how_many_they_are():
    ranks = {("a", model): [1, 9] for model in ("none", "0.5", "0.25")}
    run = hand_run(ranks, {"none": 900, "0.5": 900, "0.25": 800})
    cells = [{**cell, "point": None, "title": f"d {cell['protected']}"} for cell in cells_of(run)]
    (trade,) = trade_offs(RunResults.of(with_record(run, cells=cells, sweep=None)))
    names = {row["model"]: row["name"] for row in trade.rows}
    assert names == {"undefended": "×2", "d 0.5": None, "d 0.25": None}
    told = next(row["text"] for row in trade.rows if row["model"] == "d 0.5")
    assert told.endswith("(undefended and d 0.5 coincide here)")


def test_alpha_ends_at_the_victim_for_mixtures_only():
    run = fake_run(alphas=(0.25, 0.5), targets=2, repeats=1)
    assert end_point(run.record) == 1.0
    cells = [{**c, "defense": "gan_fake_samples", "victim_share": None} for c in cells_of(run)]
    assert end_point(with_record(run, cells=cells).record) is None


def test_defenses_stand_side_by_side(defended, page):
    table = side_by_side(RunResults.of(defended))
    assert [c.name for c in table.columns] == ["undefended", "GAN-D", "Ad-mi", "dp sgd"]
    assert table.attacks == tuple(ATTACKS)
    assert table.facts == ("epsilon",)
    assert table.inverting == ("inversion_model",)
    assert [len(c.rows_of("mirror")) for c in table.columns] == [1, 1, 2, 1]
    # 0.3 - 0.2 times what is left: 1, 0.1, 0.2, 0.5
    assert [c.error("inversion_model") for c in table.columns] == pytest.approx(
        [0.1, 0.28, 0.26, 0.2]
    )
    section = re.search(r'<section id="defenses">.*?</section>', page, re.DOTALL)[0]
    evaluators = defended.evaluators.num_rows
    # Two white-box attacks, top-1 and top-5, and the footnote, by each evaluator.
    assert section.count("†") == evaluators * (2 * 2 + 1)
    assert section.count("MC(all)") == evaluators


def test_the_strongest_row_of_each_model_is_bold_with_its_mark(defended, page):
    section = re.search(r'<section id="defenses">.*?</table>', page, re.DOTALL)[0]
    for column in columns(RunResults.of(defended)):
        worst = column.strongest(0)
        mark = " †" if worst.attack.stripped else ""
        assert f"<b>{worst.success.value:.1%}</b>{mark}<small>" in section
    assert section.count("<b>") == 4


@pytest.mark.parametrize(
    ("models", "attacks", "shown"), [(1, 1, False), (1, 2, True), (2, 1, True)]
)
def test_when_the_comparison_is_shown(defended, models, attacks, shown):
    kept = {"none", *["gand", "noise"][:models]}, list(ATTACKS)[:attacks]
    cells = [c for c in cells_of(defended) if c["protected"] in kept[0] and c["attack"] in kept[1]]
    run = with_record(defended, cells=cells)
    assert (side_by_side(RunResults.of(run)) is not None) is shown


def test_a_sweep_alone_is_no_comparison(run):
    assert side_by_side(RunResults.of(run)) is None


def test_needs_are_shown_and_unknown_ones_are_a_dash(defended, page):
    section = re.search(r'<section id="needs">.*?</section>', page, re.DOTALL)[0]
    for part in ("22.3 M", "4.4 MB", "20.5", "epsilon 8", "scores, labels", ", stripped"):
        assert part in section
    old = [
        {k: None if k not in OLD else v for k, v in m.items()} for m in defended.models.to_pylist()
    ]
    models = defended.models.from_pylist(old, defended.models.schema)
    before = dataclasses.replace(defended, models=models)
    assert all(math.isnan(m.memory) for m in models_of(before).values())
    words = set(re.findall(r"\w+", render(before, pictures=False).replace("None recorded", "")))
    assert not words & {"nan", "None", "inf"}


OLD = {"protected", "defense", "defense_settings", "milliseconds"} | {
    f"{what}_{who}" for what in ("correct", "total") for who in ("all", "targets")
}
