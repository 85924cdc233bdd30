"""Defenses on a given model: which work on which form, and that a fresh session has what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inversionlab.core.settings import ConfigError
from inversionlab.distributed.train_worker import train_network
from inversionlab.given.recognizer import GivenRecognizer
from inversionlab.pipeline.attack import make_attack, run_attack
from inversionlab.pipeline.session import Session, open_session
from inversionlab.pipeline.train import alone
from tests.given.outside_audit import Own, small
from tests.tiny import CPU

SHORT = {"epochs": 1, "batch_size": 16}
CRITIC = {
    "name": "gan_ada",
    "latent_size": 8,
    "width": 4,
    "discriminator_width": 4,
    "training": {"epochs": 1, "batch_size": 16},
}
LABELLED = {
    "name": "wgan_gp",
    "latent_size": 8,
    "width": 4,
    "training": {"epochs": 1, "batch_size": 16},
}
OUTPUT: dict[str, dict[str, Any]] = {
    "uniform_noise": {"amplitude": 0.3},
    "adversarial_noise": {"network": {"width": 4, "layers_fewer": 1}, "training": SHORT},
    "purifier": {"training": SHORT},
}
MIXTURE: dict[str, dict[str, Any]] = {
    "dummy_recognizer": {"alpha": 0.5, "neighbours": 4, "training": SHORT}
}
TUNED: dict[str, dict[str, Any]] = {
    "random_fake_samples": {"samples": 4, "training": {**SHORT, "learning_rate": 1e-2}},
    "gan_fake_samples": {
        "samples": 2,
        "steps": 2,
        "generator": "critic",
        "training": {**SHORT, "learning_rate": 1e-2},
    },
}


def recipe(own: Own, victim: dict[str, Any], name: str, settings: dict[str, Any]) -> dict[str, Any]:
    stand_in = small(1)
    return {
        "victim": {**victim, "stand_in": stand_in},
        "defense": {"name": name, **settings},
        "generators": {"critic": LABELLED},
        "defense_generator": CRITIC,
    }


def opened(
    own: Own, root: Path, form: str, name: str, settings: dict[str, Any], **given: Any
) -> Session:
    """A fresh session on a storage where everything is trained that has to be."""
    changed = recipe(own, own.victim(form, **given), name, settings)
    victim = changed.pop("victim")
    session = own.session(root, victim, **changed)
    for spec in session.plan.specs:
        if not session.artifacts.finished(spec):
            assert not spec.given
            train_network(session, spec, alone(CPU))
    return open_session(session.spec, CPU)


def answers(session: Session, settings: Any) -> Tensor:
    x_NCHW = session.builder.splits.test.images_NCHW[:6].float() / 255
    log_y_NK: Tensor = session.builder.protected(settings).log_scores(x_NCHW).detach()
    return log_y_NK


@pytest.mark.parametrize("form", ["state", "script", "exported", "onnx"])
@pytest.mark.parametrize("name", [*OUTPUT, *MIXTURE])
def test_defenses_of_outputs_and_the_mixture_work_on_every_form(
    own: Own, tmp_path: Path, form: str, name: str
) -> None:
    session = opened(own, tmp_path, form, name, (OUTPUT | MIXTURE)[name])
    cells = {cell.defense.name: cell for cell in session.plan.cells if cell.defense and cell.attack}
    cell = cells[name]
    assert cell.defense is not None
    bare = cells["none"].defense
    assert bare is not None
    log_y_NK = answers(session, cell.defense)
    assert not torch.equal(log_y_NK, answers(session, bare))
    torch.testing.assert_close(log_y_NK.exp().sum(1), torch.ones(6, dtype=log_y_NK.dtype))
    attack = make_attack(cell.attack, session.builder.attacker_context(cell))
    work = [(target, 0) for target in session.plan.targets]
    result = run_attack(attack, session.builder.protected(cell.defense), work).result
    assert bool(result.images_NCHW.isfinite().all())


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *((name, {}) for name in TUNED),
        ("random_fake_samples", {"answers": "embedding", "gallery": "private"}),
    ],
)
def test_fine_tuning_works_on_a_module_and_is_restored_in_a_fresh_session(
    own: Own, tmp_path: Path, name: str, given: dict[str, Any]
) -> None:
    session = opened(own, tmp_path, "state", name, TUNED[name], **given)
    (spec,) = [spec for spec in session.plan.specs if spec.role == "defense"]
    (cell,) = [c for c in session.plan.cells if c.defense is not None and c.defense.name == name]
    assert cell.defense is not None
    tuned = session.builder.network(spec)
    assert isinstance(tuned, GivenRecognizer)
    victim = session.builder.recognizer("victim")
    pairs = zip(tuned.parameters(), victim.parameters(), strict=True)
    assert any(not torch.equal(mine, theirs) for mine, theirs in pairs)
    # The given model itself is as it was.
    state = victim.state_dict()
    for key, weight in own.files.net.state_dict().items():
        assert torch.equal(state[f"raw.network.{key}"], weight), key
    again = answers(open_session(session.spec, CPU), cell.defense)
    assert torch.equal(answers(session, cell.defense), again)


@pytest.mark.parametrize("form", ["script", "exported", "onnx"])
def test_fine_tuning_of_a_file_is_refused_with_the_reason(own: Own, form: str) -> None:
    for name, settings in TUNED.items():
        changed = recipe(own, own.victim(form), name, settings)
        with pytest.raises(ConfigError) as caught:
            own.experiment(changed.pop("victim"), **changed)
        text = str(caught.value)
        assert f"defense ({name}): fine-tunes the victim, and {getattr(own.files, form)}" in text
        assert "cannot be trained; give it as a module (package.module:Class with weights)" in text


@pytest.mark.parametrize(
    "name",
    ["dp_sgd", "mutual_information", "negative_label_smoothing", "transfer_learning", "bido"],
)
def test_training_anew_is_refused_with_the_reason(own: Own, name: str) -> None:
    changed = recipe(own, own.victim(), name, {})
    with pytest.raises(
        ConfigError, match="trains a recognizer anew in the victim's place, but the"
    ):
        own.experiment(changed.pop("victim"), **changed)
