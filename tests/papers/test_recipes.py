"""The recipes behind the papers' tables: every one is a valid experiment at every scale that it has."""

from __future__ import annotations

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.experiment import Experiment
from inversionlab.papers import PAPERS
from inversionlab.papers.paper import SCALES, Scale
from inversionlab.papers.recipes import FOLDER, Recipe, recipes_of

WITHOUT_AT_TINY = "CelebA: DMI"
"""Rows that most of Gong's recipes leave out at the scale `tiny`: DMI's GAN learns from each model anew."""


def made(recipes: dict[str, Recipe], name: str) -> Experiment:
    experiment = recipes[name].experiment
    assert experiment is not None
    return experiment


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_recipe_is_valid_and_wanted(paper: str, scale: Scale) -> None:
    wanted = {recipe for table in PAPERS[paper].tables for recipe in table.recipes}
    found = recipes_of(paper, scale, wanted)
    assert found.keys() == wanted
    names = [recipe.experiment.name for recipe in found.values() if recipe.experiment is not None]
    assert all(name.startswith(f"{paper}-") and name.endswith(f"-{scale}") for name in names)
    for recipe in found.values():
        assert (recipe.experiment is not None) != bool(recipe.why_not)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_table_names_attacks_and_models_that_its_recipes_have(paper: str) -> None:
    for scale in SCALES:
        for table in PAPERS[paper].tables:
            found = recipes_of(paper, scale, table.recipes)
            for cell in table.cells:
                finder = cell.finder
                if finder is None or found[finder.recipe].experiment is None:
                    continue
                if scale == "tiny" and WITHOUT_AT_TINY in cell.row:
                    continue
                experiment = made(found, finder.recipe)
                attacks = {a.title for a in experiment.attacks} | {"", "random_public"}
                models = {d.title for _, d in experiment.every_defense()} | {"none", "no model"}
                assert finder.attack in attacks, (table.key, cell.place)
                assert finder.model in models, (table.key, cell.place)
                if finder.point is not None and scale != "tiny":
                    assert experiment.sweep is not None
                    assert finder.point in experiment.sweep.values


def test_the_curve_has_101_alphas_in_which_nothing_is_trained() -> None:
    recipes = recipes_of("kotsuji", "small", ["fig5", "flattened"])
    papers, flattened = (made(recipes, name) for name in ("fig5", "flattened"))
    assert papers.sweep is not None
    assert papers.sweep.values == tuple(round(i / 100, 2) for i in range(101))
    assert papers.defense.temperature == 1.0
    assert flattened.defense.temperature == 3.0
    assert flattened.victim == papers.victim
    assert {"alpha", "temperature"} <= papers.defense.inference_only
    assert (papers.targets.count, papers.targets.repeats) == (27, 3)


def test_the_papers_own_sizes() -> None:
    yoshimura = made(recipes_of("yoshimura", "small", ["table1"]), "table1")
    assert yoshimura.generator.latent_size == 32
    white, black = yoshimura.attacks
    assert (white.stop, white.step_length, white.pool) == (0.99, 0.1, 0)
    assert (black.perturbations, len(black.variances), black.grid_every) == (64, 5, 1)
    assert (yoshimura.targets.count, yoshimura.targets.repeats) == (5, 100)
    assert yoshimura.pictures.channels == 1
    clones = made(recipes_of("khosravy", "paper", ["clones"]), "clones")
    assert clones.pictures.image_size == 128
    assert clones.attacks[0].loss == "lse"
    assert clones.victim.network.name == "khosravy_cnn"


def test_each_protected_person_has_a_network_of_their_own() -> None:
    table2 = made(recipes_of("gong", "small", ["table2"]), "table2")
    assert (table2.protect, table2.targets.count, table2.targets.skip) == ("each", 10, 0)
    assert made(recipes_of("wen", "small", ["faces"]), "faces").protect == "together"


def test_settings_are_changed_for_all_recipes_or_for_one() -> None:
    found = recipes_of(
        "wen", "small", ["digits", "faces"], ["targets.repeats=2", "faces:data.root=/faces"]
    )
    digits, faces = (made(found, name) for name in ("digits", "faces"))
    assert (digits.targets.repeats, faces.targets.repeats) == (2, 2)
    assert str(getattr(faces.data, "root", "")) == "/faces"
    assert str(getattr(digits.data, "root", "")).endswith("mnist")


def test_another_recipe_is_like_the_one_it_names() -> None:
    found = recipes_of("gong", "paper", ["table2", "table2_vggface"])
    first, second = (made(found, name) for name in ("table2", "table2_vggface"))
    assert first.defenses == second.defenses
    assert second.pictures.image_size == 112
    assert recipes_of("gong", "small", ["table2_vggface"])["table2_vggface"].experiment is None


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("face:data.root=/x", "wen has no recipe `face`; did you mean `faces:`?"),
        ("faces:victim.netwrok=1", "did you mean `network`?"),
        ("targets", "must be of the form"),
    ],
)
def test_a_wrong_setting_is_refused(assignment: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recipes_of("wen", "small", ["digits", "faces"], [assignment])
    assert told in str(caught.value)


@pytest.mark.parametrize("paper", PAPERS)
def test_several_victims_are_a_setting_of_every_recipe(paper: str) -> None:
    """Where an order is claimed, three victims are pooled by people: --set 'seeds=[0,1,2]'."""
    wanted = {recipe for table in PAPERS[paper].tables for recipe in table.recipes}
    for recipe in recipes_of(paper, "small", wanted, ["seeds=[0,1,2]"]).values():
        assert recipe.experiment is None or recipe.experiment.victim_seeds == (0, 1, 2)


def test_no_file_of_recipes_is_forgotten() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(PAPERS)
