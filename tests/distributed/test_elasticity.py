"""A cluster grows with the work, loses a node, and shrinks; `benchmarks/elasticity.py` draws it."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.elasticity import NODES, ROWS, Seen, measure, undisturbed

from tests.audits import Rows, assert_same

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elasticity")


@pytest.fixture(scope="module")
def seen(folder: Path) -> Seen:
    return measure(folder)


@pytest.fixture(scope="module")
def quiet(seen: Seen, folder: Path) -> Rows:
    return undisturbed(folder)


def test_nodes_come_with_the_work_and_leave_without_it(seen: Seen) -> None:
    shape = [len(nodes) for _, nodes in seen.looks]
    assert shape[0] == 0
    assert max(shape) == NODES
    assert shape[-1] == 0
    # No node comes before there is work: the first shard is queued after the networks are looked up.
    assert seen.full > 0
    assert seen.empty > 0


def test_a_lost_node_is_replaced_while_there_is_work(seen: Seen) -> None:
    assert seen.killed + seen.replaced < seen.ended
    after = [nodes for t, nodes in seen.looks if t > seen.killed + seen.replaced]
    assert not any(seen.victim in nodes for nodes in after)


def test_its_work_is_done_by_others_and_every_row_is_there_once(seen: Seen, quiet: Rows) -> None:
    assert len(seen.rows) == ROWS
    assert_same(seen.rows, quiet)


def test_the_pool_asks_for_as_many_nodes_as_it_may_have(seen: Seen) -> None:
    ready = [sample["workers"] for sample in seen.record["timeline"]]
    assert ready[0] == 0
    assert max(ready) == NODES
