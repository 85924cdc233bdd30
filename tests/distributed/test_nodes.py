"""Nodes die, come late, or are not there at first: the audit ends by itself, with an undisturbed run's rows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.audits import Audit, Rows, assert_same, at_work, train
from tests.clusters import Cluster, static_cluster
from tests.processes import HANG, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

CHANGED: dict[str, Any] = {
    "sweep": None,
    # Never reached, so every shard takes its full time.
    "attacks.0.stop": 0.99999,
    "attacks.1.stop": 0.99999,
    "attacks.0.steps": 40,
    "attacks.1.steps": 40,
    "targets.repeats": 12,
    "runtime.shard_size": 2,
    "runtime.attack_workers": 3,
}
# 2 null attacks, 2 attacks on 2 models; 4 targets, 12 repeats.
ROWS = (2 + 2 * 2) * 4 * 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("trained"), CHANGED)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs; each test starts and ends the nodes that it wants."""
    with static_cluster(nodes=0) as head:
        yield head


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    audit = Audit(tmp_path_factory.mktemp("undisturbed"), trained, CHANGED)
    resize(cluster, 2)
    done = cluster.run(*audit.command, seconds=400)
    assert done.returncode == 0, done.stdout[-3000:]
    rows = audit.rows()
    assert len(rows) == ROWS
    return rows


def resize(cluster: Cluster, count: int) -> None:
    """Kill or start worker nodes until this many are alive."""
    for number in list(cluster.nodes())[count:]:
        cluster.kill_node(number)
    wait_until(lambda: len(cluster.nodes()) <= count, HANG, f"{count} nodes")
    cluster.add_nodes(count - len(cluster.nodes()))


def begin(cluster: Cluster, audit: Audit) -> subprocess.Popen[str]:
    return cluster.start(*audit.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(driver: subprocess.Popen[str]) -> str:
    """Wait for the driver, which must end by itself and well; returns what it printed."""
    output, _ = driver.communicate(timeout=400)
    assert driver.returncode == 0, output[-3000:]
    return output


def await_shards(audit: Audit, driver: subprocess.Popen[str], count: int) -> None:
    def there() -> bool:
        assert driver.poll() is None, driver.communicate()[0][-3000:]
        return audit.shards() >= count

    wait_until(there, HANG, f"{count} shards are stored")


def workers(audit: Audit) -> list[int]:
    """Numbers of attack workers that were ready, from the record's timeline."""
    return [int(sample["workers"]) for sample in audit.record()["timeline"]]


def test_a_node_dies_with_its_shards_and_copies(
    cluster: Cluster, trained: Path, undisturbed: Rows, tmp_path: Path
) -> None:
    resize(cluster, 3)
    audit = Audit(tmp_path, trained, CHANGED)
    driver = begin(cluster, audit)
    await_shards(audit, driver, 8)
    wait_until(lambda: len(at_work(cluster)) == 3, HANG, "all three nodes are at work")
    victim = wait_until(lambda: at_work(cluster)[-1:], HANG, "a node is at work")[0]
    cluster.kill_node(victim)
    left = audit.shards()
    finish(driver)
    assert victim not in cluster.nodes()
    assert left < audit.shards()
    # No worker took its place, because there was no room.
    seen = workers(audit)
    assert max(seen) == 3
    assert 2 in seen[seen.index(3) :]
    assert_same(audit.rows(), undisturbed)


def test_a_node_that_joins_late_gets_work(
    cluster: Cluster, trained: Path, undisturbed: Rows, tmp_path: Path
) -> None:
    resize(cluster, 2)
    audit = Audit(tmp_path, trained, CHANGED)
    driver = begin(cluster, audit)
    await_shards(audit, driver, 1)
    (late,) = cluster.add_nodes(1)
    wait_until(lambda: late in at_work(cluster), HANG, "the late node is at work")
    finish(driver)
    seen = workers(audit)
    assert max(seen) == 3
    assert 3 not in seen[: seen.index(2)]
    assert_same(audit.rows(), undisturbed)


def test_without_a_node_the_audit_waits_for_one(
    cluster: Cluster, trained: Path, undisturbed: Rows, tmp_path: Path
) -> None:
    resize(cluster, 0)
    audit = Audit(tmp_path, trained, CHANGED)
    driver = begin(cluster, audit)
    wait_until(lambda: begun(audit), HANG, "its first pictures are stored")
    with pytest.raises(subprocess.TimeoutExpired):
        driver.wait(timeout=10)
    assert audit.shards() == 0
    cluster.add_nodes(1)
    finish(driver)
    assert max(workers(audit)) == 1
    assert_same(audit.rows(), undisturbed)


def begun(audit: Audit) -> bool:
    """Whether the attack stage has begun: it first stores a real picture of every target."""
    return any(audit.storage.glob("references/*.parquet"))
