"""One model in four forms: the same rows, whatever file it came in; and what names it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inversionlab.core.images import to_bytes
from inversionlab.distributed.train_worker import train_network
from inversionlab.pipeline import measure
from inversionlab.pipeline.attack import make_attack, run_attack
from inversionlab.pipeline.evaluate import verdicts
from inversionlab.pipeline.session import Session, open_session
from inversionlab.pipeline.train import alone
from tests.given.outside_audit import NORMALIZED, Own
from tests.tiny import CPU

FORMS = ("state", "script", "exported", "onnx")
WORK = [(target, repeat) for target in (0, 1, 4) for repeat in (0, 1)]


def trained(own: Own, root: Path, victim: dict[str, Any], **changed: Any) -> Session:
    """The session of a fresh process, after everything was trained that has to be."""
    session = own.session(root, victim, **changed)
    for spec in session.plan.specs:
        if not session.artifacts.finished(spec):
            assert not spec.given
            train_network(session, spec, alone(CPU))
    return open_session(session.spec, CPU)


def attacked(session: Session, shard: int = 4) -> tuple[Tensor, Tensor, list[Any]]:
    """Pictures, the model's confidence, and the evaluators' verdicts of the undefended victim's cell."""
    (cell,) = [cell for cell in session.plan.cells if cell.attack.name == "latent_white_box"]
    assert cell.defense is not None
    model = session.builder.protected(cell.defense)
    attack = make_attack(cell.attack, session.builder.attacker_context(cell))
    images, confidence, said = [], [], []
    for name in session.plan.evaluators:
        measure.measure_evaluator(session, name)
    judges = [measure.evaluator(session, name) for name in session.plan.evaluators]
    targets = session.plan.targets
    work = [(targets[t % len(targets)], r) for t, r in WORK]
    for start in range(0, len(work), shard):
        part = work[start : start + shard]
        result = run_attack(attack, model, part).result
        images.append(to_bytes(result.images_NCHW))
        target_N = torch.tensor([t for t, _ in part])
        with torch.no_grad():
            log_y_NK = model.log_scores(result.images_NCHW)
        confidence.append(log_y_NK.gather(1, target_N[:, None])[:, 0].exp())
        said += verdicts(judges, images[-1], [t for t, _ in part], CPU)
    return torch.cat(images).float(), torch.cat(confidence), said


@pytest.fixture(scope="module")
def roots(own: Own, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Session]:
    """A session for each form, on one storage."""
    root = tmp_path_factory.mktemp("formats")
    attacks = [{"name": "latent_white_box", "steps": 15}]
    changed = {"targets.count": 3, "attacks": attacks, "generator.training.epochs": 4}
    return {form: trained(own, root, own.victim(form), **changed) for form in FORMS}


def test_four_forms_of_a_model_give_the_same_rows(own: Own, roots: dict[str, Session]) -> None:
    images, confidence, said = attacked(roots["state"])
    # The attack did something: the model is surer than by guessing, and pictures of several people differ.
    assert confidence.max() > 1 / 3
    # By more than the tolerance of the comparison below.
    assert (images[0] - images[4]).abs().max() > 2
    for form in FORMS[1:]:
        theirs, sure, told = attacked(roots[form])
        torch.testing.assert_close(theirs, images, atol=1.0, rtol=0)
        torch.testing.assert_close(sure, confidence, atol=1e-4, rtol=1e-3)
        for mine, other in zip(said, told, strict=True):
            assert [v["rank"] for v in mine] == [v["rank"] for v in other]


@pytest.mark.parametrize("form", FORMS)
def test_rows_do_not_depend_on_how_the_work_was_cut(roots: dict[str, Session], form: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    whole, parts = attacked(roots[form], 6), attacked(roots[form], 1)
    torch.set_num_threads(before)
    assert torch.equal(whole[0], parts[0])
    torch.testing.assert_close(whole[1], parts[1])


@pytest.mark.parametrize("form", FORMS)
def test_each_has_the_accuracy_that_it_has_outside(
    own: Own, roots: dict[str, Session], form: str
) -> None:
    session = roots[form]
    (cell,) = [cell for cell in session.plan.cells if cell.attack.name == "latent_white_box"]
    measure.measure_model(session, cell)
    key = measure.model_key(session, cell.protected)
    (row,) = session.store.read("models", key).to_pylist()
    test = session.builder.splits.test
    with torch.no_grad():
        x_NCHW = (test.images_NCHW[:].float() / 255 - NORMALIZED["mean"][0]) / NORMALIZED["std"][0]
        outside = int((own.files.net(x_NCHW).argmax(1) == test.class_N).sum())
    assert (row["correct_all"], row["total_all"]) == (outside, len(test))


def test_nothing_is_trained_but_the_generator_and_the_evaluator(roots: dict[str, Session]) -> None:
    storage = roots["state"].artifacts
    for form in FORMS:
        roles = [spec.role for spec in roots[form].plan.specs if not spec.given]
        assert roles == ["evaluator:same", "generator"]
        victim = roots[form].plan.spec("victim")
        assert victim.given
        assert storage.card(victim)["seconds"] == 0
    # The networks that are trained do not depend on the form of the victim.
    for role in ("evaluator:same", "generator"):
        assert len({session.plan.spec(role).key for session in roots.values()}) == 1


HELPER = "WIDTH = 8\n"
NETWORK = """
from {package}helpers import WIDTH
from tests.given.outside_model import OutsideNet

class Net(OutsideNet):
    def __init__(self):
        super().__init__(width=WIDTH)
"""


def victim_id(own: Own, root: Path, **victim: Any) -> str:
    session = own.session(root, own.victim(**victim))
    return session.plan.spec("victim").id


@pytest.mark.parametrize("package", ["", "il_test_package."])
def test_an_edit_of_an_imported_helper_makes_another_victim(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    name = package.rstrip(".") or "il_test_network"
    folder = tmp_path / "code" / (name if package else "")
    folder.mkdir(parents=True)
    helper = "helpers" if package else "il_test_helpers"
    if package:
        (folder / "__init__.py").write_text("")
    (folder / f"{helper}.py").write_text(HELPER)
    module = f"{package}network" if package else name
    code = NETWORK.replace("{package}helpers", f"{package}{helper}")
    (folder / f"{module.rpartition('.')[2]}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    given = {"model": f"{module}:Net", "arguments": {}}

    def forget() -> None:
        for loaded in [m for m in sys.modules if m.startswith("il_test_")]:
            del sys.modules[loaded]

    first = victim_id(own, tmp_path / "runs", **given)
    forget()
    assert victim_id(own, tmp_path / "runs", **given) == first
    (folder / f"{helper}.py").write_text(HELPER + "# another line\n")
    forget()
    assert victim_id(own, tmp_path / "runs", **given) != first
    forget()


@pytest.mark.parametrize("form", ["state", "onnx"])
def test_the_same_file_at_another_place_is_the_same_victim(
    own: Own, tmp_path: Path, form: str
) -> None:
    first = victim_id(own, tmp_path / "runs", form=form)
    key = "weights" if form == "state" else "model"
    file = Path(own.victim(form)[key])
    # The ONNX model keeps its weights in a file next to it.
    shutil.copytree(file.parent, tmp_path / "moved")
    copy = tmp_path / "moved" / file.name
    assert victim_id(own, tmp_path / "runs", form=form, **{key: str(copy)}) == first


def test_what_the_victim_is_changes_its_name_and_what_it_is_used_for_does_not(
    own: Own, tmp_path: Path
) -> None:
    first = victim_id(own, tmp_path)
    state = own.files.net.state_dict()
    torch.save(state | {"head.bias": state["head.bias"] + 1e-3}, tmp_path / "other.pth")
    assert victim_id(own, tmp_path, weights=str(tmp_path / "other.pth")) != first
    assert victim_id(own, tmp_path, preprocessing={"range": "-1..1"}) != first
    # A white-box attack is in the recipe, so this is the access that it has anyway.
    assert victim_id(own, tmp_path, access="white_box") == first
    assert victim_id(own, tmp_path, stand_in={"network": {"name": "vgg16"}}) == first
