"""The page of a search: marks where the figures are, nothing from outside, nothing unescaped."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
from html.parser import HTMLParser
from typing import Any

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.report.charts.figure import vega
from inversionlab.report.charts.timeline import timeline_figure
from inversionlab.report.search.front_chart import front_figures
from inversionlab.report.search.page import render_search, write_search_page
from inversionlab.report.search.parallel import parallel_figure
from inversionlab.report.search.sentence import search_caveats, search_verdict
from inversionlab.results.holdout_audit import read_holdout_audit
from inversionlab.results.record_part import read_record
from inversionlab.results.search import SearchRecord
from inversionlab.results.wording import words
from inversionlab.store.storage import Storage
from inversionlab.store.tables import Store
from tests.report.fake_run import cells_of, fake_run, with_record
from tests.report.fake_search import PAPER, fake_search, fill_store, share, trial

HOSTILE = "<img src=x onerror=alert(1)>\"'&</table></title></script>"
VOID = {"meta", "br", "img", "path", "line", "rect", "circle"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed twice, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


PACKED = re.compile(r'<script type="application/gzip".*?</script>', re.DOTALL)


def page_of(record: dict[str, Any], **more: Any) -> str:
    """The page without the packed Vega."""
    page = render_search(
        SearchRecord.model_validate(record), place="/store", pictures=False, **more
    )
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    return PACKED.sub("", page)


def by_hand() -> dict[str, Any]:
    """Undefended 90 %, so the edge is at 89 %; trials: (80 %, 10 %), (89.5 %, 30 %), (85 %, 60 %)."""
    record = fake_search(trials=0)
    points = [(0.8, 0.1, 10.0), (0.895, 0.3, 0.5), (0.85, 0.6, 5.0)]
    record["trials"] = [
        trial(n, {**PAPER, "defense.alpha": 0.1 + 0.3 * n}, "complete")
        | {"accuracy": share(a, 1000), "attack_success": share(s, 60), "accuracy_loss": loss}
        | {"strongest": {"attack": "latent_white_box", "judge": "same_people"}, "targets": 20}
        for n, (a, s, loss) in enumerate(points)
    ]
    record["undefended"] |= {"accuracy": share(0.9, 1000), "attack_success": share(1.0, 60)}
    return record | {"front": [1, 0], "recommended": 1, "null": {}}


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return fake_search(trials=40)


@pytest.fixture(scope="module")
def page(record) -> str:
    return page_of(record)


@pytest.fixture
def storage(tmp_path, record) -> Storage:
    storage = Storage(str(tmp_path))
    storage.write_json(f"searches/{record['search']}/search.json", record)
    fill_store(Store(storage), record)
    return storage


def test_marks_stand_where_accuracy_and_success_are():
    (figure,) = front_figures(SearchRecord.model_validate(by_hand()))
    at = {row["trial"]: row for row in figure.rows}
    assert [at[n]["y"] for n in (0, 1, 2, "undefended")] == [0.1, 0.3, 0.6, 1.0]
    assert [at[n]["x"] for n in (0, 1, 2, "undefended")] == [0.8, 0.895, 0.85, 0.9]
    assert at[1]["low"] == share(0.3, 60)["low"]
    kinds = {0: "paper", 1: "recommended", 2: "other", "undefended": "open"}
    assert {n: row["kind"] for n, row in at.items()} == kinds
    names = {"recommended", "paper’s point", "undefended", None}
    assert {row["name"] for row in figure.rows} == names
    # Every mark is drawn; the recommended one last, on top.
    assert [row["kind"] for row in figure.rows][-1] == "recommended"
    for row in figure.rows:
        assert f'aria-label="{html.escape(row["text"])}"' in figure.picture


def test_trials_that_coincide_say_how_many_they_are():
    record = by_hand()
    record["trials"].append(record["trials"][2] | {"number": 7})
    (figure,) = front_figures(SearchRecord.model_validate(record))
    same = {row["trial"]: row["same"] for row in figure.rows}
    assert same == {0: None, 1: None, 2: "×2", 7: None, "undefended": None}
    assert ">×2<" in figure.picture
    told = next(row["text"] for row in figure.rows if row["trial"] == 7)
    assert told.endswith("(trials 2, 7 coincide here)")


def test_the_edge_of_the_constraint_is_one_point_below_the_undefended_accuracy():
    (figure,) = front_figures(SearchRecord.model_validate(by_hand()))
    (out,) = figure.spec["datasets"]["excluded"]
    assert out["x2"] == pytest.approx(0.89)
    assert out["text"] == "more than 1 point lost"


def test_the_front_passes_the_fronts_points_in_order_of_accuracy():
    (figure,) = front_figures(SearchRecord.model_validate(by_hand()))
    assert figure.spec["datasets"]["front"] == [{"x": 0.8, "y": 0.1}, {"x": 0.895, "y": 0.3}]


def test_the_mark_on_the_page_is_the_recommended_trials(record, page):
    figure = front_figures(SearchRecord.model_validate(record))[0]
    marked = [r["trial"] for r in figure.rows if r["kind"] == "recommended"]
    assert marked == [record["recommended"]]
    row = re.search(r'<tr class="chosen">\s*<th scope="row" data-key="(\d+)"', page)
    assert row[1] == str(record["recommended"])


def test_inaccurate_trials_get_a_close_up_without_them():
    record = by_hand()
    for number, accuracy in enumerate((0.3, 0.893, 0.88, 0.897)):
        extra = record["trials"][1] | {"number": 3 + number, "accuracy": share(accuracy, 1000)}
        record["trials"].append(extra)
    whole, close = front_figures(SearchRecord.model_validate(record))
    assert {row["trial"] for row in whole.rows} == {0, 1, 2, 3, 4, 5, 6, "undefended"}
    assert {row["trial"] for row in close.rows} == {1, 2, 4, 5, 6, "undefended"}
    assert (whole.about, close.about) == (
        "",
        "2 less accurate trials are to the left of this chart.",
    )


def test_parallel_axes_are_linear_logarithmic_or_named():
    record = by_hand()
    record["trials"][1]["settings"] |= {"defense.rate": 0.1, "defense.kind": "hard"}
    figure = parallel_figure(SearchRecord.model_validate(record))
    ticks: dict[str, dict[str, float]] = {}
    for tick in figure.spec["datasets"]["ticks"]:
        ticks.setdefault(tick["axis"], {})[tick["label"]] = tick["y"]
    assert list(ticks) == ["alpha", "sigma", "rate", "kind", "accuracy ↑", "attack success ↓"]
    # log axis from 1e-4 to 1e-1: equal steps a power
    assert [ticks["rate"][t] for t in ("0.0001", "0.001", "0.01", "0.1")] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1], abs=1e-3
    )
    assert ticks["kind"] == {"soft": 0.25, "hard": 0.75}
    paper = {row["axis"]: row["y"] for row in figure.rows if row["kind"] == "paper"}
    assert list(paper) == list(ticks)
    assert paper["rate"] == ticks["rate"]["0.001"]
    assert paper["kind"] == ticks["kind"]["soft"]
    assert figure.rows[-1]["trial"] == 1
    assert figure.rows[-1]["kind"] == "recommended"


def test_a_missing_value_breaks_the_thread():
    record = by_hand()
    record["trials"] = record["trials"][2:]
    del record["trials"][0]["settings"]["defense.sigma"]
    picture = parallel_figure(SearchRecord.model_validate(record)).picture
    path = re.search(r'class="mark-line role-mark.*? d="(M[^"]*)"', picture, re.DOTALL)[1]
    # One value alone, a gap, and a line through the other four.
    assert re.sub(r"[-\d.,]", "", path) == "MZMLLL"


def test_the_timeline_is_stepped_and_shades_training():
    samples = [
        {"seconds": s, "nodes": n, "workers": 2 * n, "training": t, "queued": 4 - n, "done": 10 * n}
        for s, n, t in ((0, 0, 1), (50, 0, 1), (100, 4, 0), (200, 2, 0))
    ]
    figure = timeline_figure(samples[::-1])
    nodes = [(row["x"], row["y"]) for row in figure.rows if row["series"] == "nodes"]
    # In minutes; what does not change is left out.
    assert nodes == [(0, 0), (1.6667, 4), (3.3333, 2)]
    (span,) = figure.spec["datasets"]["spans"]
    assert (span["x"], span["x2"]) == (0, 1.6667)
    assert "minutes" in figure.picture
    assert "4 nodes" in figure.about
    assert "40 reconstructions" in figure.about


@pytest.mark.parametrize("samples", [None, [], [{"seconds": 1.0}], [{"seconds": 1.0}] * 2])
def test_no_timeline_without_a_span_of_time(samples):
    assert timeline_figure(samples) is None


def test_a_long_timeline_is_thinned_but_keeps_its_peak():
    samples = [{"seconds": float(i), "nodes": 1 + (i % 2), "done": i} for i in range(100_000)]
    figure = timeline_figure(samples)
    assert len(figure.rows) < 5000
    assert "2 nodes" in figure.about


def test_no_address_leads_outside_and_the_policy_allows_this_script_only(page):
    assert not re.findall(
        r"https?:|//\w|@import|url\(|\son\w+=", re.sub(r"<pre>.*?</pre>", "", page)
    )
    targets = re.findall(r"""(?:src|href|action|srcset)\s*=\s*["']?([^"'\s>]*)""", page)
    assert targets
    assert all(t.startswith("#") for t in targets)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' 'sha256-{vega().digest}';" in html.unescape(page)
    assert "img-src 'none'" in html.unescape(page)


def test_every_link_inside_leads_somewhere_and_every_table_has_a_caption(page):
    assert set(re.findall(r'href="#(\w+)"', page)) <= set(re.findall(r'id="(\w+)"', page))
    assert page.count("<caption") == page.count("<table")


def test_hostile_names_stay_text():
    record = fake_search(trials=12)
    record["trials"][1]["settings"] |= {"defense.kind": HOSTILE, HOSTILE: HOSTILE}
    record["trials"][6]["fault"] = HOSTILE
    record["trials"][1]["strongest"] = {"attack": HOSTILE, "judge": HOSTILE}
    record["null"] = {HOSTILE: {HOSTILE: share(0.1, 60)}}
    record["space"] = {
        "module": HOSTILE,
        "domains": {HOSTILE: HOSTILE, "defense.kind": HOSTILE},
        "kinds": {HOSTILE: {"kind": "choice", "values": [HOSTILE]}},
    }
    record |= {"name": HOSTILE, "search": HOSTILE, "options": {HOSTILE: HOSTILE}}
    record |= {"importance": {HOSTILE: {HOSTILE: 0.5}}, "experiment": {HOSTILE: HOSTILE}}
    record |= {"cost": {HOSTILE: {}}, "provenance": {HOSTILE: HOSTILE}, "timings": {HOSTILE: 1.0}}
    page = page_of(record)
    assert "<img" not in page
    scripts = re.findall(r"<script([^>]*)>", page)
    assert page.count("</script>") == len(scripts)
    assert set(scripts) == {"", ' type="application/json"'}
    assert page.count("&lt;img src=x") >= 15


def test_metrics_that_the_search_names_besides_are_columns_of_the_trials():
    record = fake_search(trials=12)
    assert "Others taken" not in page_of(record)
    record["objectives"] |= {"accepted_1": "min"}
    record["constraints"] |= {"others_taken": 2.5}
    record["trials"][3] |= {"accepted_1": 0.125, "others_taken": 1.75}
    page = page_of(record)
    for heading in ("Accepted 1", "Others taken"):
        assert f'<th scope="col">{heading}</th>' in page
    row = re.search(r'<th scope="row" data-key="3">.*?</tr>', page, re.DOTALL)
    assert row is not None
    assert '<td data-key="0.125">12.5%</td><td data-key="1.75">1.75</td>' in row[0]
    assert "others taken at most 2.5" in page


def test_the_command_survives_a_shell():
    page = page_of(fake_search(trials=12) | {"search": "a b; rm -rf $HOME"})
    commands = [html.unescape(c) for c in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    words = shlex.split(next(c for c in commands if "audit.py" in c))
    assert words[2] == "/store/searches/a b; rm -rf $HOME/recommended.yaml"
    assert words[3:] == ["--storage", "/store"]


def test_all_trials_are_in_the_table_with_sort_keys():
    record = fake_search(trials=500)
    page = page_of(record)
    body = re.search(
        r'<table class="trials sortable cards">.*?<tbody>(.*?)</tbody>', page, re.DOTALL
    )[1]
    assert re.findall(r'<th scope="row" data-key="(\d+)"', body) == [str(n) for n in range(500)]
    assert body.count("<td") == body.count("data-key") - 500
    assert "the loss became NaN in epoch 3" in body
    assert len(page) < 2_000_000


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("single", [False, True])
def test_few_trials(count, single):
    page = page_of(fake_search(trials=count, single=single))
    assert ("No trial has begun" in page) == (count == 0)


@pytest.mark.parametrize(
    "missing",
    sorted(fake_search(trials=0).keys() - {"search", "name"}),
)
def test_whatever_is_missing_the_page_is_made(missing):
    record = fake_search(trials=12)
    page_of(record | {missing: None})
    del record[missing]
    page_of(record)


def test_stopped_and_failed_trials_only():
    record = fake_search(trials=9, single=True)
    record["trials"] = [t for t in record["trials"] if t["state"] != "complete"]
    record |= {"front": [], "recommended": None}
    page = page_of(record)
    assert "None of the 4 trials has finished" in page
    assert "stopped early" in page


def test_the_verdict_says_what_was_found_what_it_cost_and_that_it_flatters():
    record = by_hand() | {"trainings": {"trials": 3, "networks": 2}}
    text = search_verdict(SearchRecord.model_validate(record))
    assert "number 1 (alpha = 0.4, sigma = 1, rate = 0.001, kind = soft) is recommended" in text
    # 18 of 60, Wilson: 19.9 to 42.5
    assert "in 100.0% (94.0–100.0) of the tries (chance: 3.2%)" in text
    assert "has 30.0% (19.9–42.5), less than undefended by" in text
    assert "It costs 0.5 points of accuracy (90.0% → 89.5%)" in text
    assert "trained 2 networks for 3 trials" in text
    assert "picked among 3 trials on the same targets, so its figure is optimistic" in text


def test_the_verdict_admits_what_is_not_shown():
    overlapping = by_hand()
    overlapping["undefended"]["attack_success"] = share(0.4, 60)
    assert "not clearly less than undefended" in search_verdict(
        SearchRecord.model_validate(overlapping)
    )
    guessed = by_hand() | {"null": {"random_public": {"same_people": share(0.25, 60)}}}
    assert "not clearly above a guess" in search_verdict(SearchRecord.model_validate(guessed))
    nothing = by_hand() | {"recommended": None}
    text = search_verdict(SearchRecord.model_validate(nothing))
    assert "None of 3 finished trials meets the constraint (accuracy loss at most 1 point)" in text
    assert "the most accurate, number 1" in text
    allowed = by_hand()
    allowed["trials"][0] |= {"accuracy_loss": 0.9, "attack_success": share(0.4, 60)}
    assert any(
        "paper’s own" in c for c in search_caveats(SearchRecord.model_validate(allowed), None)
    )
    assert not any(
        "paper’s own" in c for c in search_caveats(SearchRecord.model_validate(by_hand()), None)
    )


def test_what_is_not_clearly_safer_than_undefended_is_not_recommended():
    record = by_hand()
    record["undefended"]["attack_success"] = share(0.4, 60)
    search = SearchRecord.model_validate(record)
    assert not search.helps
    text = search_verdict(search)
    assert (
        "Nothing that was tried is clearly safer than undefended, so no setting is recommended. The best of 3 "
        "finished trials is number 1 (alpha = 0.4"
    ) in text
    page = page_of(record)
    assert '<span class="tag">best tried</span>' in page
    assert "<h2>The best setting that was tried</h2>" in page
    assert '<span class="tag">recommended</span>' not in page
    assert "There is no recommended.yaml" in page
    assert "jobs/audit.py" not in page
    assert "recommended.yaml" not in text
    (figure,) = front_figures(search)
    assert [row["name"] for row in figure.rows if row["trial"] == 1] == ["best tried"]
    clear = SearchRecord.model_validate(by_hand())
    assert clear.helps
    assert "is recommended" in search_verdict(clear)


def test_the_best_of_several_models_must_be_clear_for_all_of_them():
    record = by_hand()
    for tried in record["trials"]:
        tried |= {"score": 0.3, "by_chance": 0.02}
    search = SearchRecord.model_validate(record)
    assert (search.by_chance, search.helps) == (0.06, False)
    assert "; p = 0.06 as the best of 3)" in search_verdict(search)
    # Trials of one model are one choice, and those that break a constraint are none.
    record["trials"][0] |= {"protected": "protected1"}
    record["trials"][2] |= {"score": 1.05}
    search = SearchRecord.model_validate(record)
    assert (search.by_chance, search.helps) == (0.02, True)
    assert "number 1 (alpha = 0.4" in search_verdict(search)
    assert "is recommended" in search_verdict(search)


def test_an_accuracy_that_rises_is_a_gain():
    record = by_hand()
    assert "<dt>What does it cost?</dt><dd><b>0.5 points</b>" in page_of(record)
    record["trials"][1]["accuracy_loss"] = -16.7
    page = page_of(record)
    assert "<b>16.7 points gained</b>Accuracy rises by 16.7 points" in page
    assert "-16.7 points" not in page


def noise(**more: Any) -> dict[str, Any]:
    """`by_hand`, of a noise that comes off."""
    record = by_hand() | {"experiment": {"defense": {"name": "uniform_noise"}}}
    record["trials"][1] |= {"protects": "scores, labels", "left": "none", **more}
    return record


def caveats_of(record: dict[str, Any]) -> list[str]:
    return [c for c in search_caveats(SearchRecord.model_validate(record), None) if "weights" in c]


def test_a_defense_that_comes_off_gets_the_caveat_of_the_audit():
    (line,) = caveats_of(noise())
    assert line == (
        "“uniform noise” protects only against attackers who see no more than scores or labels: "
        "an attacker who holds the weights takes the perturbation off and is left with the undefended model. "
        "Nobody who holds the weights has attacked it in this search."
    )
    page = html.unescape(page_of(noise()))
    assert line in page[page.index("Before you rely on this") :]
    labelled = noise()
    labelled["experiment"]["defense"]["label"] = "mild"
    assert caveats_of(labelled)[0].startswith("“mild” protects only")


def test_the_caveat_says_what_an_attacker_found_who_removed_the_defense():
    success = {
        "ami": {"same_people": share(0.1, 60), "disjoint": share(0.2, 60)},
        "ami, stripped": {"same_people": share(0.3, 60), "disjoint": share(0.5, 60)},
        "mirror, stripped": {"same_people": share(0.4, 60)},
    }
    # Without a headline in the recipe the evaluator that finds most decides.
    (line,) = caveats_of(noise(success=success))
    assert line.endswith(
        "with the undefended model. The attack “ami” then has 50.0% top-5 success, against 20.0% on what "
        "is released."
    )
    by_first = noise(success=success)
    by_first["experiment"] |= {"headline": "first", "evaluators": [{"name": "same_people"}]}
    (line,) = caveats_of(by_first)
    assert line.endswith("The attack “mirror” then has 40.0% top-5 success.")


def test_a_defense_that_stays_on_needs_no_caveat():
    assert not caveats_of(by_hand())
    assert not caveats_of(noise() | {"recommended": None})


def test_the_bound_on_the_change_of_scores_is_in_nats():
    record = by_hand() | {"recommended": None, "constraints": {"log_distortion": 2.5}}
    assert "(log distortion at most 2.5 nats)" in search_verdict(
        SearchRecord.model_validate(record)
    )


@pytest.mark.parametrize(
    ("headline", "deciding"),
    [("first", ("same_people",)), ("worst", ("same_people", "person_disjoint"))],
)
def test_the_audit_is_read_by_the_searchs_own_headline_evaluator(headline, deciding):
    jobs = {"targets": list(range(6)), "repeats": 2}
    run = with_record(fake_run(alphas=(0.6,), targets=6, repeats=2), jobs=jobs)
    audit = read_holdout_audit(run, headline)
    shares = {
        (words(cell["attack"]), evaluator): sum(
            v["rank"] <= 5
            for r in run.reconstructions.select(["cell", "verdicts"]).to_pylist()
            if r["cell"] == cell["cell"]
            for v in r["verdicts"]
            if v["evaluator"] == evaluator
        )
        for cell in cells_of(run)
        if cell["defense"] == "dummy_recognizer"
        for evaluator in deciding
    }
    assert audit.success.value == max(shares.values()) / 12
    assert shares[audit.attack, audit.evaluator] == max(shares.values())
    record = by_hand()
    page = page_of(record, audit=audit)
    assert f"run {audit.run}" in page
    assert "figure is optimistic" not in page
    assert "Audited again on targets and random starts that the search never saw" in page


NULLS = {
    "random_latent": {"same_people": share(0.1, 60), "person_disjoint": share(0.5, 60)},
    "random_public": {"same_people": share(0.2, 60), "person_disjoint": share(0.3, 60)},
}


@pytest.mark.parametrize(
    ("experiment", "decides", "attack", "found"),
    [
        ({"headline": "first"}, "same_people", "random_public", 0.2),
        # The evaluator that found most undefended, and not the one that finds most of guesses.
        ({"headline": "worst"}, "same_people", "random_public", 0.2),
        ({"headline": "worst"}, "person_disjoint", "random_latent", 0.5),
        # A record of before recipes had a headline evaluator: the one that finds most decided then.
        ({}, "person_disjoint", "random_latent", 0.5),
    ],
)
def test_the_best_guess_is_by_the_headline_evaluator(experiment, decides, attack, found):
    plain = fake_search(trials=1) | {"null": NULLS}
    plain["undefended"]["strongest"]["judge"] = decides
    del plain["experiment"]["headline"]
    plain["experiment"] |= experiment
    guess = SearchRecord.model_validate(plain).guess
    assert (guess.attack, guess.success.value) == (attack, found)


def test_the_first_evaluator_is_the_recipes_though_the_file_sorts_its_keys():
    plain = json.loads(json.dumps(fake_search(trials=1) | {"null": NULLS}, sort_keys=True))
    assert next(iter(plain["null"]["random_public"])) == "person_disjoint"
    assert SearchRecord.model_validate(plain).guess.success.value == 0.2
    assert "by the evaluator “same_people”" in page_of(plain)
    plain["experiment"]["headline"] = "worst"
    assert "by the evaluator that finds most" in page_of(plain)


def test_pictures_of_five_people_at_four_models(storage, record, capsys):
    place = write_search_page(storage.root, record["search"], pictures=True)
    assert place == f"{storage.root}/searches/{record['search']}/index.html"
    assert "is recommended" in capsys.readouterr().out
    page = storage.read(f"searches/{record['search']}/index.html").decode()
    assert page.count("<img") == 4 * 5
    assert page.count("<img") == len(re.findall(r'<img src="data:image/png;base64,[\w+/=]+"', page))
    store, cell = Store(storage), record["undefended"]["cells"]["latent_white_box"]
    mine = [r for r in store.reconstructions([cell]).to_pylist() if r["target"] == 0]
    chosen, *others = sorted(mine, key=lambda r: -r["confidence"])
    assert base64.b64encode(chosen["picture"]).decode() in page
    assert all(base64.b64encode(o["picture"]).decode() not in page for o in others)


def test_an_audit_that_was_not_run_yet_is_left_out(storage, record):
    again = record | {"rejudged": {"run": "lfw-recommended-00000000"}}
    storage.write_json(f"searches/{record['search']}/search.json", again)
    write_search_page(storage.root, record["search"], pictures=False)
    page = storage.read(f"searches/{record['search']}/index-no-pictures.html").decode()
    assert "figure is optimistic" in page


def test_where_every_person_was_attacked_only_the_starts_are_new():
    record = by_hand() | {"data": {"private_people": 20}}
    assert "on random starts (every person was attacked)" in search_verdict(
        SearchRecord.model_validate(record)
    )
    record["data"]["private_people"] = 21
    assert "on targets and random starts that" in search_verdict(
        SearchRecord.model_validate(record)
    )


def test_no_picture_and_no_name_where_not_asked_for(storage, record):
    write_search_page(storage.root, record["search"], pictures=False)
    page = storage.read(f"searches/{record['search']}/index-no-pictures.html").decode()
    assert "<img" not in page
    assert "base64" not in page
    assert "person_0" not in page


@pytest.mark.parametrize("name", ["nowhere", "../searches", "", "a/b"])
def test_an_unknown_search_is_refused_with_those_that_are_there(storage, record, name):
    with pytest.raises(ConfigError, match=record["search"]):
        write_search_page(storage.root, name, pictures=False)


def test_a_search_that_has_not_ended_is_refused_with_what_to_do(storage):
    storage.write_json("searches/going/begun.json", {})
    with pytest.raises(ConfigError, match="has not ended; run the same command again"):
        write_search_page(storage.root, "going", pictures=False)


def keys_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every key and item below a JSON value."""
    if isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        return [p for k, v in inside for p in [(*path, k), *keys_of(v, (*path, k))]]
    return []


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy of a JSON value without one key or item."""
    copy = json.loads(json.dumps(value))
    *above, last = path
    node = copy
    for part in above:
        node = node[part]
    del node[last]
    return copy


@pytest.mark.slow
def test_a_record_that_lacks_any_one_key_still_makes_a_page():
    whole = fake_search(trials=2, targets=5)
    paths = keys_of(whole)
    records = [read_record(SearchRecord, without(whole, p), "search.json") for p in paths]
    # A page takes a quarter of a second: every key at the top, and a few of those below.
    for path, record in zip(paths, records, strict=True):
        if len(path) == 1 or paths.index(path) % 60 == 0:
            assert "<html" in render_search(record, place="/runs", pictures=False), path


def test_a_damaged_part_counts_as_absent_and_the_rest_stays():
    whole = fake_search(trials=3, targets=5)
    whole["undefended"]["accuracy"] = {"value": "?", "low": 0.1}
    whole["trials"][0]["curve"] = [{"targets": 1}, *whole["trials"][0]["curve"], None]
    found = read_record(SearchRecord, whole, "search.json")
    assert found.undefended.accuracy is None
    assert found.undefended.attack_success is not None
    assert len(found.trials[0].curve) == len(whole["trials"][0]["curve"]) - 2


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("space", "kinds", "defense.alpha", "high"), [None]),
        (("space", "kinds", "defense.alpha", "low"), {"a": 1}),
        (("space", "kinds", "defense.kind", "values"), 3),
        (("trials", 0, "settings", "defense.alpha"), float("inf")),
        (("trials", 0, "accuracy", "value"), float("inf")),
        (("experiment", "evaluators"), [True, {"name": ["x"]}]),
        (("experiment", "defense"), ["x"]),
        (("experiment", "targets"), {"skip": "x"}),
        (("experiment", "targets"), 3),
    ],
    ids=str,
)
def test_a_part_that_is_of_another_kind_counts_as_absent(place: tuple[Any, ...], value: Any):
    # A copy, since searches share their space and the paper's point.
    whole = json.loads(json.dumps(fake_search(trials=3, targets=5)))
    *above, last = place
    node: Any = whole
    for part in above:
        node = node[part]
    node[last] = value
    found = read_record(SearchRecord, whole, "search.json")
    assert "<html" in render_search(found, place="/runs", pictures=False)


@pytest.mark.parametrize(
    "known",
    [
        [None, None, None],
        [0.5, None, None],
        [None, 0.5, 0.5],
        ["x", [1], 0.5],
        [-1, 2, float("nan")],
    ],
    ids=str,
)
def test_a_record_that_lacks_some_trials_chance_still_has_a_verdict(known: list[Any]):
    """Records of older versions know of none."""
    whole = fake_search(trials=3, targets=5)
    for number, (tried, chance) in enumerate(zip(whole["trials"], known, strict=True)):
        tried |= {"state": "complete", "score": 0.5, "by_chance": chance, "protected": f"{number}"}
    for best in range(3):
        whole["recommended"] = best
        found = read_record(SearchRecord, whole, "search.json")
        assert f"number {best} (" in search_verdict(found)
        assert (found.by_chance is None) is not isinstance(known[best], int | float)


def test_what_is_no_record_is_refused_by_its_place():
    with pytest.raises(ConfigError, match=r"searches/x/search.json: is not a record"):
        read_record(SearchRecord, ["not", "a", "record"], "searches/x/search.json")
