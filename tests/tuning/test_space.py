"""Search spaces: what is read, what is refused, and what a trial's experiment is."""

from __future__ import annotations

from pathlib import Path

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.tuning.space import (
    SearchSpace,
    check_space,
    describe,
    experiment_at,
    load_space,
    products,
)
from inversionlab.tuning.trial_metrics import METRICS
from tests import tiny

GOOD = """
from ray import tune
SPACE = {"defense.alpha": tune.uniform(0, 1), "defense.neighbours": tune.choice([4, 8])}
START = [{"defense.alpha": 0.25, "defense.neighbours": 8}]
OBJECTIVES = {"accuracy": "max", "attack_success": "min"}
CONSTRAINTS = {"accuracy_loss": 1}
"""


def load(folder: Path, text: str, name: str = "dummy_recognizer.py") -> SearchSpace:
    (folder / name).write_text(text)
    return load_space(folder / name)


def test_a_space_is_read_as_it_stands(tmp_path: Path) -> None:
    space = load(tmp_path, GOOD)
    assert space.module == "dummy_recognizer"
    assert space.start == ({"defense.alpha": 0.25, "defense.neighbours": 8},)
    assert space.objectives == {"accuracy": "max", "attack_success": "min"}
    assert space.constraints == {"accuracy_loss": 1.0}


def test_every_domain_is_described_with_inclusive_bounds(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        """
from ray import tune
SPACE = {
    "a": tune.uniform(0.05, 1), "b": tune.loguniform(1e-3, 10), "c": tune.quniform(0.2, 1, 0.2),
    "d": tune.randint(1, 10), "e": tune.lograndint(1, 65), "f": tune.qrandint(10, 40, 10),
    "g": tune.choice(["low", 2, 0.5, True]),
}
OBJECTIVES = {"score": "min"}
""",
    )
    assert describe(space) == {
        "module": "dummy_recognizer",
        "start": [],
        "domains": {
            "a": "uniform 0.05 to 1",
            "b": "log-uniform 0.001 to 10",
            "c": "uniform 0.2 to 1 in steps of 0.2",
            "d": "whole numbers 1 to 9",
            "e": "whole numbers, log-uniform, 1 to 64",
            "f": "whole numbers 10 to 40 in steps of 10",
            "g": "one of low, 2, 0.5, True",
        },
        "kinds": {
            "a": {"kind": "float", "low": 0.05, "high": 1.0, "log": False},
            "b": {"kind": "float", "low": 0.001, "high": 10.0, "log": True},
            "c": {"kind": "float", "low": 0.2, "high": 1.0, "log": False, "step": 0.2},
            "d": {"kind": "int", "low": 1, "high": 9, "log": False},
            "e": {"kind": "int", "low": 1, "high": 64, "log": True},
            "f": {"kind": "int", "low": 10, "high": 40, "log": False, "step": 10},
            "g": {"kind": "choice", "values": ["low", 2, 0.5, True]},
        },
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("SPACE =", "SPACES =", "SPACES: unknown name; did you mean `SPACE`?"),
        ("SPACE =", "SPACES =", "SPACE: is missing"),
        ("OBJECTIVES =", "EXTRA = OBJECTIVES =", "EXTRA: unknown name"),
        ("tune.uniform(0, 1)", "0.5", "SPACE['defense.alpha'] = 0.5: is not a domain"),
        ("tune.uniform(0, 1)", "tune.grid_search([0, 1])", "is not a domain"),
        ("tune.uniform(0, 1)", "tune.sample_from(print)", "is not a domain"),
        ("tune.uniform(0, 1)", "tune.randn(0, 1)", "must be uniform"),
        ("tune.uniform(0, 1)", "tune.qloguniform(1, 4, 1)", "must be uniform"),
        ("tune.uniform(0, 1)", "tune.uniform(1, 0)", "`low <= high` must hold"),
        ("tune.uniform(0, 1)", "tune.qrandint(3, 13, 5)", "both bounds multiples of it"),
        (
            "tune.uniform(0, 1)",
            "tune.loguniform(0, 1)",
            "(line 3): ValueError: LogUniform requires",
        ),
        ("[4, 8]", "[]", "the choices must be one or more"),
        ("[4, 8]", "[[4], [8]]", "the choices must be one or more"),
        ("[4, 8]", "[8, 8]", "a choice appears twice"),
        ('"defense.neighbours": 8}', "}", "START[0]: lacks `defense.neighbours`"),
        ('"defense.neighbours": 8', '"defense.neighbour": 8', "did you mean `defense.neighbours`?"),
        ("0.25", "1.5", "defense.alpha = 1.5: lies outside SPACE's uniform 0 to 1"),
        ("0.25", "True", "defense.alpha = True: lies outside"),
        ('s": 8}]', 's": 9}]', "defense.neighbours = 9: lies outside SPACE's one of 4, 8"),
        ('s": 8}]', 's": 8.0}]', "defense.neighbours = 8.0: lies outside"),
        ('accuracy":', 'accurcy":', "accurcy: unknown metric; did you mean `accuracy`?"),
        ('"max"', '"most"', "OBJECTIVES: accuracy = 'most': must be"),
        ("attack_success", "seconds", "OBJECTIVES: seconds: differs from run to run"),
        ("accuracy_loss", "loss", "CONSTRAINTS: loss: unknown metric"),
        ('": 1}', "\": float('nan')}", "must be a finite number"),
        ('": 1}', '": 10**400}', "CONSTRAINTS: accuracy_loss = 1000"),
        ('": 1}', '": 10**5000}', "accuracy_loss = (int, too long to show): must be a"),
        ("0.25", "10**400", "lies outside SPACE's uniform 0 to 1"),
        ("0.25", "10**5000", "(int, too long to show): lies outside"),
        ("uniform(0, 1)", "uniform(0, 10**400)", "the bounds must be finite numbers, 1.8e+308"),
        ("uniform(0, 1)", "randint(0, 10**5000)", "the bounds must be whole numbers, 1.8e+308"),
        ("[4, 8]", "[4, 10**400]", "the choices must be one or more numbers (1.8e+308 at most)"),
        ("uniform(0, 1)", "quniform(0, 1, float('inf'))", "the step inf must be a finite number"),
        ("uniform(0, 1)", "quniform(0, 1, 1e-300)", "the step 1e-300 makes 1e+300 steps; 1e+09"),
        ("uniform(0, 1)", "qrandint(0, 10, 2.5)", "the step 2.5 must be a whole number above 0"),
        ('"max"', '"min"', 'OBJECTIVES: accuracy = "min": would look for the worst settings'),
        ('"min"', '"max"', 'OBJECTIVES: attack_success = "max": would look for the worst'),
        ('"attack_success"', '"targets"', "OBJECTIVES: targets: says how much was attacked"),
        ("accuracy_loss", "accuracy", "CONSTRAINTS: accuracy: a larger value is better"),
        ("accuracy_loss", "score", "CONSTRAINTS: score: is made from the constraints"),
        ("accuracy_loss", "distortion", "unknown metric; did you mean `log_distortion`?"),
        (
            "accuracy_loss",
            "accepted",
            "did you mean `accepted_1`? known: accuracy_loss, log_distortion",
        ),
        (
            "accuracy_loss",
            "others",
            "known: accuracy_loss, log_distortion, others_taken, strangers_ta",
        ),
        (
            "accuracy_loss",
            "distance",
            "distance: a larger value is better, but a constraint is an upper b",
        ),
        (
            '"attack_success"',
            '"distance"',
            'OBJECTIVES: distance = "min": would look for the worst',
        ),
        ("from ray", "import nowhere_at_all\nfrom ray", "ModuleNotFoundError"),
        ("SPACE = {", "SPACE = {{", "SyntaxError"),
        ("SPACE = {", "import sys\nsys.exit(0)\nSPACE = {", "it calls sys.exit(0)"),
        ("SPACE = {", "not_there\nSPACE = {", "NameError: name 'not_there' is not defined"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as error:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert said in str(error.value)
    assert str(tmp_path / "dummy_recognizer.py") in str(error.value)
    # The folder's own name may be long.
    assert max(map(len, str(error.value).replace(str(tmp_path), "").splitlines())) < 400


def test_every_metric_that_tells_of_a_setting_has_a_better_direction() -> None:
    undirected = {metric for metric, better in METRICS.items() if better is None}
    assert undirected == {"targets", "reconstructions", "seconds"}


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    with pytest.raises(ConfigError, match=r"did you mean `.*dummy_recognizer\.py`"):
        load_space(tmp_path / "dummy_recogniser.py")


def test_a_space_fits_the_defense_that_it_is_named_for(tmp_path: Path) -> None:
    check_space(load(tmp_path, GOOD), tiny.experiment())
    other = load(tmp_path, GOOD, "focal.py")
    with pytest.raises(ConfigError, match=r"(?s)`focal`.*defense\.name = dummy_recognizer"):
        check_space(other, tiny.experiment())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "uniform(0, 1)",
            "uniform(0, 2)",
            "defense.alpha = 2.0: should be less than or equal to 1",
        ),
        ("[4, 8]", "[8, 0]", "defense.neighbours = 0: should be greater than or equal to 1"),
        ("[4, 8]", "[8, 4.5]", "defense.neighbours = 4.5"),
        ("defense.alpha", "defense.alfa", "defense.alfa = 0.0: unknown key; did you mean `alpha`?"),
        ("defense.alpha", "defense.alpha.x", "its parent is a float"),
        ("defense.alpha", "victim.training.epochs", "begin with `defense.`"),
        ("defense.alpha", "seed", "begin with `defense.`"),
        ("defense.alpha", "defense.label", "SPACE['defense.label']: is only what the tables call"),
        ("defense.alpha", "defense.inner.label", "is only what the tables call a defense"),
    ],
)
def test_a_space_keeps_to_the_settings_own_bounds(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    space = load(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as error:
        check_space(space, tiny.experiment())
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


FAKE_SAMPLES = """
from ray import tune
SPACE = {"defense.alpha": tune.choice([0.0, 1.0]), "defense.beta": tune.choice([0.0, 1.0])}
OBJECTIVES = {"accuracy": "max"}
"""
WITH_FAKE_SAMPLES = {"defense": {"name": "random_fake_samples"}, "sweep": None}


def test_choices_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    base = tiny.experiment(**WITH_FAKE_SAMPLES)
    space = load(tmp_path, FAKE_SAMPLES, "random_fake_samples.py")
    with pytest.raises(ConfigError) as error:
        check_space(space, base)
    assert "SPACE can draw defense.alpha = 0.0, defense.beta = 0.0: " in str(error.value)
    assert "alpha = beta = 0: nothing is learned" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    apart = FAKE_SAMPLES.replace("[0.0, 1.0]", "[0.5, 1.0]", 1)
    check_space(load(tmp_path, apart, "random_fake_samples.py"), base)


def test_combinations_are_those_of_few_choices(tmp_path: Path) -> None:
    text = FAKE_SAMPLES.replace("[0.0, 1.0]", "list(range(1, 33))", 1)
    assert len(products(load(tmp_path, text))) == 64
    assert products(load(tmp_path, text.replace("33", "34"))) == []
    assert products(load(tmp_path, GOOD)) == []


def test_a_trials_experiment_differs_in_its_settings_and_has_no_sweep() -> None:
    base = tiny.experiment()
    made = experiment_at(base, {"defense.alpha": 0.125, "defense_generator.latent_size": 16})
    assert made.sweep is None
    assert made == tiny.experiment(
        **{"sweep": None, "defense.alpha": 0.125, "defense_generator.latent_size": 16}
    )
    assert base.sweep is not None
    with pytest.raises(ConfigError, match=r"trial 7: defense\.alpha = 3"):
        experiment_at(base, {"defense.alpha": 3}, origin="trial 7")


def test_a_missing_space_is_compared_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "dp_sgd.py").touch()
    with pytest.raises(ConfigError, match=r"did you mean `.*/dp_sgd\.py`"):
        load_space(tmp_path / "dp_sdg.py")
    with pytest.raises(ConfigError, match=r"no such search space; there are: dp_sgd$"):
        load_space(tmp_path / "xyz.py")
    with pytest.raises(ConfigError, match=r"nowhere holds none$"):
        load_space(tmp_path / "nowhere" / "xyz.py")
