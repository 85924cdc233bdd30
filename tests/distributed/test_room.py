"""What workers need that nodes lack, and how waiting for it is told; no Ray."""

from __future__ import annotations

from typing import Any

import pytest

from inversionlab.core.settings import ConfigError
from inversionlab.distributed import cluster, planned_room
from inversionlab.distributed.room import WaitNotice, attack_workers, lacking, training_workers
from inversionlab.experiment.sections import RuntimeSettings

TWO = [{"CPU": 4.0, "x": 2.0}, {"CPU": 2.0, "GPU": 1.0}]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"attack_cpus": 4}, ""),
        ({"attack_resources": {"x": 2}}, ""),
        # Both nodes together have 6, but a worker is on one of them.
        (
            {"attack_cpus": 5},
            "runtime.attack_cpus: each attack worker needs 5 CPU, and no node has more than 4",
        ),
        (
            {"attack_resources": {"y": 0.5}},
            "runtime.attack_resources.y: each attack worker needs 0.5 y, and no node has any",
        ),
        (
            {"attack_cpus": 4, "attack_resources": {"x": 3}},
            "runtime.attack_resources.x: each attack worker needs 3 x, and no node has more than 2",
        ),
    ],
)
def test_an_attack_worker_needs_a_node_that_holds_it(settings: dict[str, Any], told: str) -> None:
    assert lacking(attack_workers(RuntimeSettings(**settings), gpu=False), TWO) == told


def test_no_node_may_have_all_of_it_together() -> None:
    workers = attack_workers(RuntimeSettings(attack_resources={"x": 1}), gpu=True)
    assert lacking(workers, TWO) == (
        "runtime.attack_resources: no node has all that each attack worker needs (1 CPU, 0.25 GPU, 1 x)"
    )


def test_all_workers_of_a_training_must_fit_at_once() -> None:
    def told(**settings: Any) -> str:
        return lacking(training_workers(RuntimeSettings(**settings), TWO, gpu=False), TWO)

    assert told(train_cpus=2, train_workers=3, grows=True, attack_workers=1) == ""
    # Two on the first node, one on the second.
    assert told(train_cpus=2, train_workers=4, grows=True, attack_workers=1) == (
        "runtime.train_workers = 4: each training worker needs 2 CPU, but the nodes have room for 3 of them"
    )
    assert told(train_resources={"train": 1}) == (
        "runtime.train_resources.train: each training worker needs 1 train, and no node has any"
    )
    # CPUs are cut to the largest node's, as ever.
    assert told(train_cpus=64) == ""


def test_a_ray_of_our_own_refuses_what_no_node_will_ever_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "alive_nodes", lambda: TWO)
    wrong = RuntimeSettings(attack_cpus=1024, train_resources={"x": 3}, attack_gpu="never")
    with pytest.raises(ConfigError) as caught:
        cluster.refuse_hopeless(wrong, training=True)
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == [
        "runtime.attack_cpus",
        "runtime.train_resources.x",
    ]
    assert "lower the setting, or run on a cluster that has it" in lines[2]
    with pytest.raises(ConfigError, match="attack_cpus"):
        cluster.refuse_hopeless(wrong, training=False)
    cluster.refuse_hopeless(wrong.model_copy(update={"attack_cpus": 1}), training=False)
    cluster.refuse_hopeless(wrong.model_copy(update={"grows": True}), training=True)


def test_a_plan_tells_what_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(planned_room, "this_machine", lambda: {"CPU": 2.0})
    assert list(planned_room.planned(RuntimeSettings(), training=True)) == []
    runtime = RuntimeSettings(attack_resources={"x": 3}, train_workers=4)
    told = list(planned_room.planned(runtime, training=True))
    assert told[0].startswith("runtime.attack_resources.x: each attack worker needs 3 x")
    assert told[0].endswith("(this machine alone, where the run would be refused)")
    assert told[1].startswith("runtime.train_workers = 4: each training worker needs 1 CPU")
    assert len(list(planned_room.planned(runtime, training=False))) == 1
    grown = runtime.model_copy(update={"grows": True})
    assert list(planned_room.planned(grown, training=True)) == []


def test_waiting_is_told_at_once_and_then_ever_more_seldom() -> None:
    time, said = [0.0], list[str]()
    notice = WaitNotice(said.append, now=lambda: time[0])
    for second in range(3001):
        time[0] = float(second)
        notice.look("no node has any x")
    assert said[0] == "      waiting: no node has any x"
    # After 1, 2, 4 and 8 minutes, then every 10 minutes at most.
    assert [line.partition(": no node")[0].strip() for line in said[1:]] == [
        f"waiting for {minutes}:00" for minutes in (1, 2, 4, 8, 16, 26, 36, 46)
    ]


def test_a_wait_that_ends_within_its_patience_is_not_told() -> None:
    time, said = [0.0], list[str]()
    notice = WaitNotice(said.append, now=lambda: time[0])
    for second in (0, 30, 59):
        time[0] = float(second)
        notice.look("no worker yet", patience=60.0)
    notice.look("")
    for second in (70, 120, 131):
        time[0] = float(second)
        notice.look("no worker yet", patience=60.0)
    assert said == ["      waiting for 1:01: no worker yet"]
