"""A space whose points do not fit the data is refused before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from inversionlab.core.settings import ConfigError
from inversionlab.pipeline.network_spec import NetworkSpec
from inversionlab.tuning.search import SearchOptions, search
from inversionlab.tuning.space import SearchSpace, check_space, refusals
from inversionlab.tuning.space_fit import check_fit
from tests import tiny

NOISE: dict[str, Any] = {"defense": {"name": "adversarial_noise"}, "sweep": None}
FAKES: dict[str, Any] = {
    "defense": {"name": "random_fake_samples", "protected": [0, 1]},
    "sweep": None,
}
LAYERS, LABEL = "defense.network.layers_fewer", "defense.protected.0"
# 16 pixels are two doublings of a first map of 4, so one layer may be left out.
NOISE["defense"]["network"] = {"width": 4, "layers_fewer": 1}
FEW = "2 layers after the first map"


def space(module: str, domains: dict[str, Any], *start: dict[str, Any]) -> SearchSpace:
    return SearchSpace(module, domains, start, {"accuracy": "max"}, {})


@pytest.mark.parametrize(
    ("changed", "domains", "said"),
    [
        (NOISE, {LAYERS: tune.randint(0, 3)}, (f"SPACE['{LAYERS}']: {LAYERS} = 2: ", FEW)),
        (NOISE, {LAYERS: tune.choice([0, 3, 1])}, (f"SPACE['{LAYERS}']: {LAYERS} = 3: ", FEW)),
        (FAKES, {LABEL: tune.randint(2, 100)}, (f"{LABEL} = 99: ", "the victim knows 0 to 5")),
    ],
)
def test_an_end_or_a_choice_that_does_not_fit_is_told_with_its_key(
    tmp_path: Path, changed: dict[str, Any], domains: dict[str, Any], said: tuple[str, ...]
) -> None:
    session = tiny.session(tmp_path, **changed)
    wrong = space(session.experiment.defense.name, domains)
    check_space(wrong, session.experiment)
    with pytest.raises(ConfigError) as error:
        check_fit(wrong, session)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{wrong.module}.py: SPACE[")
    for part in said:
        assert part in line


def test_a_space_that_fits_builds_each_network_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny.session(tmp_path, **NOISE)
    built = []

    def counted(build: Callable[..., Any]) -> Callable[..., Any]:
        return lambda spec, context: built.append(spec.key) or build(spec, context)

    for kind in NetworkSpec.__subclasses__():
        monkeypatch.setattr(kind, "build", counted(kind.build))
    domains = {LAYERS: tune.randint(0, 2), "defense.noise.step": tune.uniform(0.1, 1)}
    check_fit(space("adversarial_noise", domains, {LAYERS: 0, "defense.noise.step": 0.2}), session)
    # Those with layers_fewer = 1 are the base experiment's own, and the noise's step trains nothing.
    assert len(built) == len(set(built)) == 1


@pytest.mark.parametrize(
    ("domains", "start", "said"),
    [
        ({"a": [1, 2], "b": [3, 4]}, [{"a": 1, "b": 3}], []),
        ({"a": [1, 2], "b": [2, 3]}, [{"a": 2, "b": 2}], ["m.py: START[0]"]),
        ({"a": [1, 2], "b": [1, 2]}, [{"a": 2, "b": 1}], ["m.py: SPACE can draw a = 1, b = 1"]),
        ({"a": [9, 0], "b": [0, 9]}, [{"a": 1, "b": 1}], ["m.py: SPACE['a']", "m.py: SPACE['b']"]),
    ],
)
def test_start_points_are_tried_after_each_key_and_combinations_last(
    domains: dict[str, list[int]], start: list[dict[str, int]], said: list[str]
) -> None:
    def refuse(point: Mapping[str, Any], where: str) -> list[str]:
        wrong = 0 in point.values() or len(set(point.values())) < len(point)
        return [where] if wrong else []

    chosen = {key: tune.choice(values) for key, values in domains.items()}
    assert refusals(space("m", chosen, *start), refuse) == said


def test_a_search_refuses_before_it_leaves_a_trace(tmp_path: Path) -> None:
    wrong = space("adversarial_noise", {LAYERS: tune.randint(0, 3)})
    with pytest.raises(ConfigError, match=f"{LAYERS} = 2"):
        search(tiny.experiment(**NOISE), wrong, SearchOptions(trials=2), str(tmp_path))
    assert not (tmp_path / "searches").exists()
