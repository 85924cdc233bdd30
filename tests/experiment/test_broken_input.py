"""Broken recipes and data folders: each is refused before anything is trained, with a text that helps.

`python -m tests.experiment.test_broken_input` prints every text as a user sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inversionlab.core.settings import ConfigError
from inversionlab.core.yaml_io import dump_yaml
from inversionlab.experiment import load
from inversionlab.pipeline.session import open_experiment
from inversionlab.store.storage import Storage
from tests import tiny

IMPORTED = {"name": "imported", "path": "m:Net"}

Spoil = Callable[[Path], tuple[Path, list[str]]]
"""Makes something broken in a folder; returns the recipe and `--set` assignments that lead to it."""


def changed(**settings: Any) -> Spoil:
    def make(folder: Path) -> tuple[Path, list[str]]:
        recipe = folder / "recipe.yaml"
        recipe.write_text(dump_yaml(tiny.recipe(**settings)))
        return recipe, []

    return make


def with_set(*assignments: str) -> Spoil:
    return lambda folder: (changed()(folder)[0], list(assignments))


def text(content: str) -> Spoil:
    def make(folder: Path) -> tuple[Path, list[str]]:
        recipe = folder / "recipe.yaml"
        recipe.write_text(content)
        return recipe, []

    return make


def faces(people: dict[str, int], *, loose: int = 0, broken: int = 0) -> Spoil:
    """A folder of `people` (name: pictures), with pictures outside a person's folder, and broken ones."""

    def make(folder: Path) -> tuple[Path, list[str]]:
        root = folder / "faces"
        root.mkdir()
        for number, (name, count) in enumerate(people.items()):
            (root / name).mkdir()
            for i in range(count):
                Image.new("L", (20, 20), 10 * number + i).save(root / name / f"{i}.png")
            for i in range(broken):
                (root / name / f"broken{i}.jpg").write_bytes(b"not a picture")
        for i in range(loose):
            Image.new("L", (20, 20), i).save(root / f"{i}.png")
        data = {"name": "folder", "root": str(root), "image_size": 16, "channels": 1}
        return changed(data=data)(folder)

    return make


def missing_recipe(folder: Path) -> tuple[Path, list[str]]:
    (folder / "demo.yaml").write_text("name: demo")
    return folder / "dmo.yaml", []


def missing_folder(folder: Path) -> tuple[Path, list[str]]:
    (folder / "faces").mkdir()
    data = {"name": "folder", "root": str(folder / "fcaes")}
    return changed(data=data)(folder)


def truncated_digits(folder: Path) -> tuple[Path, list[str]]:
    root = folder / "mnist"
    root.mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (root / name).write_bytes(b"\0\0\x08\x03\0\0")
    return changed(data={"name": "mnist", "root": str(root), "part": "train"})(folder)


CASES: dict[str, tuple[Spoil, list[str]]] = {
    "no such recipe": (
        missing_recipe,
        ["dmo.yaml: there is no such recipe; did you mean", "demo.yaml"],
    ),
    "not yaml": (text("name: [unclosed"), ["recipe.yaml: cannot be read as YAML"]),
    "empty recipe": (
        text(""),
        ["must hold a mapping of settings, but holds a nothing (an empty file?)"],
    ),
    "a list": (text("- name: x"), ["must hold a mapping of settings, but holds a list"]),
    "unsafe yaml": (
        text("name: !!python/object/apply:os.system [ls]"),
        ["cannot be read as YAML", "could not determine a constructor"],
    ),
    "unknown key": (
        changed(**{"defense.alhpa": 0.3}),
        ["recipe.yaml: defense.alhpa = 0.3: unknown key; did you mean `alpha`?"],
    ),
    "unknown top key": (changed(vctim={}), ["vctim = {}: unknown key; did you mean `victim`?"]),
    "unknown deep key": (
        changed(**{"victim.training.epoch": 3}),
        ["victim.training.epoch = 3: unknown key; did you mean `epochs`?"],
    ),
    "unknown attack": (
        changed(**{"attacks.0": {"name": "pixel_grey_box"}}),
        ["attacks.0.name = pixel_grey_box: unknown name; did you mean `pixel_gray_box`?"],
    ),
    "wrong type": (
        changed(**{"targets.count": "many"}),
        ['targets.count = "many": should be a valid integer'],
    ),
    "text for a number": (
        changed(**{"defense.alpha": "0.3"}),
        ['defense.alpha = "0.3": should be a valid number'],
    ),
    "out of range": (
        changed(**{"defense.alpha": 1.5}),
        ["defense.alpha = 1.5: should be less than or equal to 1"],
    ),
    "not finite": (
        with_set("victim.training.learning_rate=.inf"),
        ["victim.training.learning_rate"],
    ),
    "missing section": (
        text("name: x\ndata: {name: procedural}"),
        [
            "generator: is missing and has no default",
            "attacks: is missing",
        ],
    ),
    "no evaluators": (
        changed(evaluators=[]),
        ["evaluators: are missing; with private pictures at hand, name at least one"],
    ),
    "no private pictures": (
        changed(data=None),
        ["data: is missing; a victim that is trained here needs people to learn"],
    ),
    "name that is a path": (
        changed(name="../../etc"),
        ['name = "../../etc": should match pattern'],
    ),
    "evaluator like the victim": (
        changed(**{"evaluators.0.recognizer.network": tiny.RECIPE["victim"]["network"]}),
        ["evaluators.0 (same)", "has the victim's own structure", "needs another one"],
    ),
    "evaluator of the victim's kind where another is asked for": (
        changed(**{"evaluators.0.another_network": True}),
        [
            "evaluators.0 (same): is a `small_resnet` as the victim is, only of other sizes",
            "`another_network` asks for another kind",
        ],
    ),
    "no generator for the dummy": (
        changed(defense_generator=None),
        [
            "defense_generator: is missing; `dummy_recognizer` needs a generator trained on the private set"
        ],
    ),
    "a generator that attackers share and the model would have to teach": (
        changed(
            sweep=None,
            generators={"k": {"name": "ked_gan", "latent_size": 8, "width": 4}},
            defense={"name": "gan_fake_samples", "generator": "k", "shared_generator": True},
        ),
        [
            "(gan_fake_samples): shared_generator = true: `ked_gan` learns from the model under attack"
        ],
    ),
    "no encoder for generated decoys": (
        changed(
            generator={"name": "wgan_gp", "latent_size": 8, "width": 4},
            sweep=None,
            defense={"name": "anonymity_set", "kind": "generated"},
        ),
        [
            "defense (anonymity_set): `anonymity_set` needs a generator with an encoder",
            "mine: {name: vae}",
        ],
    ),
    "generated decoys of a generator without an encoder": (
        changed(
            sweep=None,
            generators={"mine": {"name": "wgan_gp", "latent_size": 8, "width": 4}},
            defense={"name": "anonymity_set", "kind": "generated", "generator": "mine"},
        ),
        ["generator = mine: `wgan_gp` has no encoder, which `anonymity_set` needs", "vae"],
    ),
    "sweep of nothing": (
        changed(**{"sweep.setting": "defense.beta"}),
        ["sweep of defense.beta at 0.25: there is no such setting", "defense.alpha, "],
    ),
    "sweep out of range": (
        changed(**{"sweep.values": [0.5, 2.0]}),
        ["sweep of defense.alpha at 2.0", "less than or equal to 1"],
    ),
    "sweep of no number": (
        changed(**{"sweep.values": [0.5, float("nan"), "x"]}),
        [
            "sweep.values.1 = NaN: should be a finite number",
            'sweep.values.2 = "x": should be a valid number',
        ],
    ),
    "sweep without values": (
        changed(**{"sweep.values": []}),
        ["sweep.values = []: should have at least 1 item, not 0"],
    ),
    "attack twice": (
        changed(attacks=[{"name": "latent_white_box"}, {"name": "latent_white_box"}]),
        ["attacks: `latent_white_box` appears twice", "two of a kind need a `label`"],
    ),
    "an attack without the generator it needs": (
        changed(attacks=[{"name": "gmi"}]),
        [
            "attacks (gmi): `gmi` needs a generator with critic; give one under `generators`",
            "wgan_gp",
        ],
    ),
    "a generator label of nobody": (
        changed(
            attacks=[{"name": "gmi", "generator": "wagn"}], generators={"wgan": {"name": "wgan_gp"}}
        ),
        ["attacks (gmi): generator = wagn: is not one of `generators` (there are: wgan)"],
    ),
    "a generator that has learned from more than the attacker sees": (
        changed(
            attacks=[{"name": "label_only", "generator": "k"}],
            generators={"k": {"name": "ked_gan"}},
        ),
        ["attacks (label_only): generator = k: `ked_gan` learns from whole score vectors"],
    ),
    "a generator that has learned from gradients, for an attacker who sees scores": (
        changed(
            attacks=[{"name": "latent_black_box", "generator": "k"}],
            generators={"k": {"name": "plg_gan"}},
        ),
        ["attacks (latent_black_box): generator = k: `plg_gan` learns from gradients"],
    ),
    "too few perturbations to choose among variances": (
        changed(
            attacks=[{"name": "latent_black_box", "perturbations": 8, "variances": [0.1, 0.01]}]
        ),
        [
            "attacks (latent_black_box): latent_black_box: perturbations = 8: a choice among 2 variances needs "
            "more than 8, the length of the latent"
        ],
    ),
    "a generator that does not suit": (
        changed(attacks=[{"name": "mirror", "generator": "v"}], generators={"v": {"name": "vae"}}),
        ["attacks (mirror): generator = v: `mirror` needs a generator with style"],
    ),
    "a generator that the model would have to teach": (
        changed(generator={"name": "ked_gan"}),
        ["generator: `ked_gan` learns from the model under attack; give it under `generators`"],
    ),
    "an unknown key under a label": (
        changed(generators={"mine": {"name": "wgan_gp", "widht": 8}}),
        ["generators.mine.widht = 8: unknown key; did you mean `width`?"],
    ),
    "more scores than classes": (
        changed(attacks=[{"name": "ami", "truncate": 7}]),
        ["attacks (ami): truncate = 7: the model has 6 scores"],
    ),
    "no stranger with two pictures": (
        changed(
            **{
                "evaluators.0.protocol": "nearest_identity",
                "public_data": {**tiny.RECIPE["data"], "seed": 1, "pictures_per_person": 1},
            }
        ),
        ["evaluators (same): nearest_identity needs public people with two pictures or more"],
    ),
    "--set without =": (with_set("defense.alpha"), ["--set defense.alpha: must be of the form"]),
    "--set past a list": (
        with_set("attacks.7.steps=3"),
        ["attacks.7.steps: `7` is not one of the items 0 to 1"],
    ),
    "--set into a number": (with_set("seed.x=3"), ['seed = {"x": 3}: should be a valid integer']),
    "--set into an empty list": (
        with_set("attacks=[]", "attacks.0.steps=3"),
        ["attacks.0.steps: `0` leads into an empty list"],
    ),
    "--set with a digit that counts nothing": (
        with_set("attacks.².name=x"),
        ["attacks.².name: `²` is not one of the items 0 to 1"],
    ),
    "--set with a digit of another script": (
        with_set("attacks.٠.steps=3"),
        ["attacks.٠.steps: `٠` is not one of the items 0 to 1"],
    ),
    "--set with an endless digit string": (
        with_set(f"attacks.{'9' * 5000}.steps=3"),
        ["attacks.999", "...` is not one of the items 0 to 1"],
    ),
    "--set with a path without end": (
        with_set(f"{'x.' * 3000}x=3"),
        ["x.x.x", "...: leads more than 50 levels deep"],
    ),
    "sweep with a digit that counts nothing": (
        changed(
            defense={"name": "random_fake_samples", "protected": [0, 1]},
            **{"sweep.setting": "defense.protected.²"},
        ),
        ["sweep of defense.protected.² at 0.25: protected.²: `²` is not one of the items 0 to 1"],
    ),
    "an anchor that holds itself": (
        text("name: x\ndefense: &a {inner: *a, name: dummy_recognizer}"),
        ["recipe.yaml: cannot be read as YAML: an anchor holds itself", "line 2"],
    ),
    "--set an anchor that holds itself": (
        with_set("defense=&a {name: purifier, inner: *a}"),
        ["--set defense: the value cannot be read", "holds itself"],
    ),
    "nested without end": (
        with_set(f"defense={'{name: purifier, inner: ' * 3000}x{'}' * 3000}"),
        ["--set defense: the value cannot be read", "values are nested more than 50 deep"],
    ),
    "nested too deep": (
        text(f"name: x\ndefense: {'{inner: ' * 60}x{'}' * 60}"),
        ["recipe.yaml: cannot be read as YAML: values are nested more than 50 deep", "line 2"],
    ),
    "aliases of aliases": (
        text("a: &a0 [1, 1]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(30))),
        ["with its aliases this holds more than 100,000 values"],
    ),
    "a merge key": (
        text("name: x\ndefense: {<<: {alpha: 0.3}, name: dummy_recognizer}"),
        ["recipe.yaml: cannot be read as YAML: merge keys (`<<`) are not supported", "line 2"],
    ),
    "a number that begins with a zero": (
        with_set("targets.count=010"),
        [
            "--set targets.count: the value cannot",
            "`010` begins with a zero; write 10 for the decimal number",
        ],
    ),
    "a number that is none among a network's arguments": (
        changed(**{"victim.network": {**IMPORTED, "arguments": {"a": [1, {"b": float("nan")}]}}}),
        ["victim.network.arguments = {", "`a.1.b` is nan", "give a finite number"],
    ),
    "an infinite number among a network's arguments": (
        changed(**{"victim.network": {**IMPORTED, "arguments": {"a": float("-inf")}}}),
        ["victim.network.arguments = {", "`a` is -inf"],
    ),
    "too large a number among a given model's arguments": (
        with_set("victim={model: 'm:Net', arguments: {a: 1e400}}"),
        ["victim.arguments = {", "`a` is inf"],
    ),
    "an infinite number among a given generator's arguments": (
        with_set(
            "generator={name: given, path: 'm:Net', weights: w.pt, latent_size: 4, arguments: {a: .inf}}"
        ),
        ["generator.arguments = {", "`a` is inf"],
    ),
    "an empty root": (
        changed(data={"name": "folder", "root": " "}),
        ['data.root = " ": is empty; name a path'],
    ),
    "a home folder of nobody": (
        with_set("data={name: folder, root: ~no-such-user-here/x}"),
        ["data.root = ", "the home folder is not known"],
    ),
    "a name of 300 characters in a root": (
        changed(data={"name": "folder", "root": f"/data/{'x' * 300}"}),
        ["data.root = ", "...: holds a name of more than 255 bytes"],
    ),
    "a root one slash short": (
        with_set("data={name: folder, root: 's3:/bucket/x'}"),
        ["data.root: is not a path, and a URI has `://`; did you mean s3://bucket/x?"],
    ),
    "minutes and seconds": (
        with_set("targets.count=1:30"),
        ['targets.count = "1:30": should be a valid integer'],
    ),
    "a resource that is Ray's own": (
        with_set("runtime.attack_resources={CPU: 3}"),
        [
            "runtime.attack_resources = {",
            "`CPU`: 3: is a name of Ray's own; set runtime.train_cpus",
        ],
    ),
    "a resource that is Ray's own, in small letters": (
        with_set("runtime.train_resources={gpu: .5}"),
        [
            "runtime.train_resources = {",
            "`gpu`: 0.5: is a name of Ray's own; set runtime.train_gpu",
        ],
    ),
    "memory as a resource": (
        with_set("runtime.train_resources={memory: 1}"),
        ["`memory`: 1: is a name of Ray's own; Ray does not hold workers to it"],
    ),
    "less than nothing of a resource": (
        with_set("runtime.attack_resources={x: -1}"),
        ["runtime.attack_resources = {", "`x`: -1: must be from 0.0001 to 1e9"],
    ),
    "one and a half of a resource": (
        with_set("runtime.attack_resources={x: 1.5}"),
        ["`x`: 1.5: must be a whole number above 1"],
    ),
    "a resource without a name": (
        with_set('runtime.train_resources={"": 1}'),
        ["``: 1: must be a name without spaces around it"],
    ),
    "a hundred thousand blocks": (
        with_set("victim.network.blocks=[100000]"),
        ["victim.network.blocks.0 = 100000: should be less than or equal to 256"],
    ),
    "a list of thousands of blocks": (
        with_set(f"victim.network.blocks=[{'1, ' * 4_999}1]"),
        ["victim.network.blocks = [1, 1", "should have at most 5 items"],
    ),
    "a recipe of 20 MB": (
        text("name: x\n" + "# a comment\n" * 1_700_000),
        ["recipe.yaml: has 20,400 kB, but a recipe has at most 100 kB"],
    ),
    "more pictures than any memory holds": (
        changed(
            **{"data.people": 10_000, "data.pictures_per_person": 10_000, "data.image_size": 256}
        ),
        [
            "data (procedural): people = 10000 with pictures_per_person = 10000 are 100,000,000 pictures of 1 x "
            "256 x 256, 6,553.6 GB, but only ",
            "GB of memory are free here; take fewer of them, or a smaller image_size",
        ],
    ),
    "more targets than people": (
        changed(**{"targets.count": 7}),
        ["targets.count = 7: there are only 6 private people; lower it"],
    ),
    "nobody left to be public": (
        changed(**{"split.private_people": 30, "targets.count": 4}),
        ["split.public: nobody is left for the attacker's public set; lower"],
    ),
    "nobody left for the evaluator": (
        changed(**{"split.evaluator_people": 0}),
        ["evaluators: `disjoint` is person_disjoint", "leave nobody for it"],
    ),
    "overlapping sets": (
        changed(**{"split.private": ["f000*"], "split.public": ["f0003", "f0017"]}),
        ["split.private and split.public overlap: 1 people match both (f0003)"],
    ),
    "public people of data beside public_data": (
        changed(
            **{
                "public_data": {**tiny.RECIPE["data"], "seed": 1},
                "split.public": ["f0003", "f0004"],
            }
        ),
        [
            "split.public = ['f0003', 'f0004']: makes nobody public",
            "those of `public_data`; take it",
        ],
    ),
    "public people who are the private ones": (
        changed(public_data={**tiny.RECIPE["data"], "people": 50}),
        ["public_data.seed = 0: is the seed, so the same people, of `data` itself"],
    ),
    "key given twice": (
        text("name: x\nseed: 1\nseed: 2"),
        ["cannot be read as YAML", "the key `seed` is given twice"],
    ),
    "size that the generator cannot make": (
        changed(**{"data.image_size": 20}),
        ["20"],
    ),
    "no such data folder": (missing_folder, ["fcaes", "did you mean", "faces"]),
    "pictures of nobody": (
        faces({}, loose=3),
        ["faces: no usable picture", "expected a folder that holds one folder of pictures"],
    ),
    "one person": (faces({"ann": 3}), ["faces: only one person (`ann`) has usable pictures"]),
    "too few pictures": (
        faces({"ann": 1, "bob": 1, "cid": 1}),
        ["split.private: 0 people match ['*'] with at least split.private_min_pictures = 2"],
    ),
    "only broken pictures": (
        faces({"ann": 0, "bob": 0}, broken=2),
        ["faces: no usable picture", "4 left out, the first: ann/broken0.jpg"],
    ),
    "truncated digits": (truncated_digits, ["train-images-idx3-ubyte"]),
}


def message(spoil: Spoil, folder: Path) -> str:
    """What a user is told."""
    try:
        recipe, assignments = spoil(folder)
        experiment = load(recipe, assignments)
        opened = open_experiment(experiment, Storage(str(folder / "runs")))
        opened.builder.check()
    except ConfigError as error:
        return str(error)
    return "(accepted)"


@pytest.mark.parametrize("name", CASES)
def test_is_refused_with_a_text_that_helps(name: str, tmp_path: Path) -> None:
    spoil, expected = CASES[name]
    told = message(spoil, tmp_path)
    assert told != "(accepted)"
    for part in expected:
        assert part in told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"sweep.values": [float("nan")]},
            "sweep.values.0 = NaN: should be a finite number",
        ),
        ({"sweep.values": ["x"]}, 'sweep.values.0 = "x": should be a valid number'),
        ({"attacks": [3]}, "attacks.0 = 3: should be an object"),
    ],
    ids=["NaN", "text", "attack"],
)
def test_one_bad_item_is_one_line(settings: dict[str, Any], told: str, tmp_path: Path) -> None:
    assert message(changed(**settings), tmp_path) == f"{tmp_path / 'recipe.yaml'}: {told}"


def test_a_broken_picture_among_good_ones_is_named_counted_and_left_out(tmp_path: Path) -> None:
    spoil = faces({f"p{i}": 4 for i in range(14)}, broken=1)
    recipe, _ = spoil(tmp_path)
    assignments = ["split.private_people=4", "split.evaluator_people=4"]
    assignments += ["split.evaluator_min_pictures=2"]
    session = open_experiment(load(recipe, assignments), Storage(str(tmp_path / "runs")))
    notes = session.builder.splits.notes
    assert len(notes) == 14
    assert "p0/broken0.jpg" in notes[0]


@pytest.mark.parametrize(
    "assignment",
    [
        "data.root=s3://K:hunter2@b/x",
        "data={name: folder, root: 's3:/K:hunter2@b/x'}",
        "victim.endpoint={url: 'https://u:hunter2@h/x'}",
        "victim={endpoint: {url: 'https://h', headers: {Authorization: Bearer hunter2}}}",
        "victim.endpoint.headers={Authorization: 'Bearer hunter2",
        "victim.endpoint.headers.Authorization=!hunter2",
        "victim.endpoint.url:https://u:hunter2@h",
        "targets.count=hunter2: [",
        "defense.alpha=" + "hunter2" * 20_000,
    ],
)
def test_no_error_repeats_the_text_of_set(assignment: str, tmp_path: Path) -> None:
    told = message(with_set(assignment), tmp_path)
    assert f"--set {assignment.partition('=')[0].partition(':')[0]}" in told
    assert "hunter2" not in told


def test_a_line_of_a_recipe_that_is_not_readable_is_not_shown(tmp_path: Path) -> None:
    spoil = text("name: x\nvictim:\n  endpoint:\n    headers: {Authorization: 'hunter2}\n")
    told = message(spoil, tmp_path)
    assert "recipe.yaml: cannot be read as YAML: " in told
    assert "(line " in told
    assert "hunter2" not in told


if __name__ == "__main__":
    import tempfile

    for case, (make, _) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{case}\n    " + message(make, Path(folder)).replace(folder + "/", "") + "\n")
