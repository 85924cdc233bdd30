"""What `benchmarks.attacks` compares: the plain attacks are the same methods, the bound all passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from benchmarks.attacks import Tally
from benchmarks.bound import Pass, RecordingModel, bound, recording
from benchmarks.naive import NAIVE, Plain
from torch import Tensor

from inversionlab.attacks import ATTACKS
from inversionlab.pipeline.attack import make_attack, run_attack
from tests import toys

NEVER = 1 - 1e-7
JOBS = [(0, 0), (1, 0), (3, 1)]


def settings(name: str, **changed: Any) -> Any:
    """As published, as the plain attacks are."""
    data = {"name": name, "as_published": True, **changed}
    return ATTACKS[name].Settings.model_validate(data)


def plain() -> Plain:
    context = toys.context()
    return Plain.of(toys.victim(), toys.ToyGenerator(), context)


def both(name: str, **changed: Any) -> tuple[Tensor, Tensor]:
    """Pictures of the plain attack and of ours."""
    options = settings(name, **changed)
    naive_NCHW = torch.cat([NAIVE[name](plain(), options, *job) for job in JOBS])
    ours = run_attack(make_attack(options, toys.context()), toys.victim(), JOBS)
    assert ours.result.steps_N.tolist() == [options.steps] * len(JOBS), "a row left early"
    return naive_NCHW, ours.result.images_NCHW


@pytest.mark.parametrize("steps", [1, 12])
def test_the_plain_descent_in_latent_space_takes_the_same_steps(steps: int) -> None:
    naive_NCHW, ours_NCHW = both("latent_white_box", steps=steps, stop=NEVER)
    torch.testing.assert_close(naive_NCHW, ours_NCHW, atol=1e-4, rtol=0)


@pytest.mark.parametrize("cost", ["probability", "cross_entropy"])
def test_the_plain_mi_face_takes_the_same_steps(cost: str) -> None:
    naive_NCHW, ours_NCHW = both("mi_face", steps=8, stop=NEVER, cost=cost)
    torch.testing.assert_close(naive_NCHW, ours_NCHW, atol=1e-4, rtol=0)


def test_the_plain_black_box_attack_estimates_the_gradient() -> None:
    # With perturbations of a thousandth the estimate is the gradient, and the path that of the white box.
    options = settings("latent_black_box", steps=6, stop=NEVER, variances=(1e-6,))
    white = settings("latent_white_box", steps=6, stop=NEVER)
    networks = plain()
    job = 2, 0
    start = settings("latent_black_box", steps=1, max_rate=1e-9, variances=(1e-6,))
    (unmoved, found) = (NAIVE["latent_black_box"](networks, o, *job) for o in (start, options))

    def log_p(x_1CHW: Tensor) -> float:
        return float(networks.model.log_scores(x_1CHW)[0, job[0]])

    gained = log_p(found) - log_p(unmoved)
    same_start = replace(networks, context=_with_stream_of("latent_black_box"))
    best = NAIVE["latent_white_box"](same_start, white, *job)
    assert gained > 0
    torch.testing.assert_close(found, best, atol=2e-3, rtol=0)


def _with_stream_of(attack: str) -> Any:
    """A context with the streams of another attack, so that two attacks start at the same point."""
    context = toys.context()

    class Renamed(type(context)):  # type: ignore[misc]
        def stream(self, name: str, target: int, repeat: int) -> torch.Generator:
            return super().stream(attack, target, repeat)

    return Renamed(context.generator, context.public_NCHW, context.seed, context.device)


def test_weights_of_the_plain_networks_keep_gradients_and_ours_do_not() -> None:
    networks = plain()
    NAIVE["latent_white_box"](networks, settings("latent_white_box", steps=1), 0, 0)
    assert networks.generator.basis.grad is not None
    assert networks.context.generator is not networks.generator
    assert not any(p.requires_grad for p in networks.context.generator.parameters())  # type: ignore[union-attr]


def test_plain_mi_face_refuses_settings_that_it_lacks() -> None:
    with pytest.raises(ValueError, match="variation"):
        NAIVE["mi_face"](plain(), settings("mi_face", variation=0.1), 0, 0)


@pytest.mark.parametrize("name", sorted(NAIVE))
def test_every_query_is_a_recorded_pass(name: str) -> None:
    log: list[Pass] = []
    attack = make_attack(settings(name, steps=3, stop=NEVER), recording(toys.context(), log))
    done = run_attack(attack, RecordingModel(toys.victim(), log), JOBS)
    asked = [each for each in log if each.kind == "scores"]
    assert sum(each.size for each in asked) == int(done.queries_N.sum())
    assert {each.back for each in asked} == {name != "latent_black_box"}


def test_the_bound_counts_an_update_once_and_every_other_row_by_its_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = [
        Pass("encode", 4, False),
        Pass("decode", 3, True),
        Pass("scores", 3, True),
        Pass("decode", 2, True),
        Pass("scores", 2, True),
        Pass("decode", 5, False),
        Pass("scores", 5, False),
    ]
    again = list[Pass]()
    prior: Any = recording(toys.context(), again).generator
    calls: Any = {
        "encode": prior.encode,
        "decode": prior,
        "scores": RecordingModel(toys.victim(), again).log_scores,
    }
    x_NCHW, z_ND = torch.rand(6, 1, 8, 8), torch.rand(6, prior.latent_size)
    inputs: Any = {"encode": x_NCHW, "decode": z_ND, "scores": x_NCHW}

    def best(work: Any, device: torch.device) -> tuple[float, int]:
        before = len(again)
        work(6)
        return {"decode": 10.0, "scores": 100.0, "encode": 1000.0}[again[before].kind], 6

    monkeypatch.setattr("benchmarks.bound._best", best)
    total, update, batch = bound(log, calls, inputs, toys.CPU)
    # An update begins with the generator; so do the 5 rows that it decodes besides.
    assert (total, update, batch) == (5 * 10 + 4 * 1000 + 5 * 10 + 5 * 100, 10, 6)
    assert again[:2] == [Pass("decode", 6, True), Pass("scores", 6, True)]


def test_a_tally_tells_ratios_and_how_far_successes_are_apart() -> None:
    tally = Tally("mi_face", 99, rows=10, found_plain=7, found_ours=4)
    tally.plain, tally.ours, tally.steps = [10.0, 30.0, 8.0], [1.0, 1.0, 2.0], [9.0, 9.0, 9.0]
    assert tally.apart == pytest.approx(0.3)
    # Median of 10, 30 and 4; an update: 100 plain ones against 10 of ours, a tenth of it.
    assert "10.0 x" in tally.line()
    assert " 1.0 x" in tally.line()
    assert "7 and 4 of 10" in tally.line()
