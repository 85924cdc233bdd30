"""Do nodes come and go with the work, and does a lost one cost a row?

    python -m benchmarks.elasticity [--page elasticity.html]

The benchmark audits made-up faces, with networks trained before, on a head without CPUs. The head's autoscaler
starts nodes of one CPU each, all of them processes of this machine. When all nodes are there and at work, one is
killed. The page shows the record's timeline, and after the audit's end what is seen from outside. It takes some
minutes and about 6 GB of memory. `tests/distributed/test_elasticity.py` asserts on it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from tests.audits import Audit, Rows, at_work, train
from tests.clusters import Cluster, autoscaling_head, static_cluster

from inversionlab.report.charts.timeline import timeline_figure

NODES = 8
REPEATS = 24
CHANGED: dict[str, Any] = {
    # Never reached, so every shard takes its full time.
    "attacks.0.stop": 0.99999,
    "attacks.1.stop": 0.99999,
    "attacks.0.steps": 100,
    "attacks.1.steps": 100,
    "targets.repeats": REPEATS,
    "runtime.shard_size": 2,
    "runtime.shard_seconds": 20.0,
    "runtime.attack_workers": NODES,
    "runtime.grows": True,
}
ROWS = (2 + 2 * 3) * 4 * REPEATS
"""2 null attacks, 2 attacks on 3 models; 4 targets."""
PATIENCE = 1500.0
"""Seconds that the audit may take, and that its nodes may take to leave."""
EVERY = 0.5
"""Seconds between looks at the nodes."""

Look = tuple[float, frozenset[int]]
"""(Seconds since the attack stage began, numbers of the living worker nodes)."""


@dataclass(frozen=True)
class Seen:
    """What was seen of one audit; times are seconds since its scheduler began, as in its record."""

    looks: tuple[Look, ...]
    """Looks from outside, from before the audit until the last node had left."""
    killed: float
    victim: int
    ended: float
    record: dict[str, Any]
    rows: Rows

    @property
    def full(self) -> float:
        """When all nodes were there for the first time."""
        return next(t for t, nodes in self.looks if len(nodes) == NODES)

    @property
    def replaced(self) -> float:
        """Seconds from the kill until all nodes were there again, one of them new."""
        before = frozenset[int]().union(*(nodes for t, nodes in self.looks if t <= self.killed))
        return next(
            t - self.killed
            for t, nodes in self.looks
            if t > self.killed and len(nodes) == NODES and nodes - before
        )

    @property
    def empty(self) -> float:
        """Seconds from the actor pool's end until no worker node was left; the report is written meanwhile."""
        idle = float(self.record["timeline"][-1]["seconds"])
        return next(t for t, nodes in self.looks if t > idle and not nodes) - idle

    @property
    def samples(self) -> list[dict[str, float]]:
        """The record's timeline, then the looks after it in the same form; the head counts as a node."""
        inside: list[dict[str, float]] = self.record["timeline"]
        last = inside[-1]
        after = [
            {"seconds": t, "nodes": 1 + len(n), "cpus": len(n), "done": last["done"]}
            for t, n in self.looks
            if t > last["seconds"]
        ]
        return inside + after


class Watch:
    """Looks at a cluster's nodes from outside, and keeps what it sees."""

    def __init__(self, cluster: Cluster, say: Callable[[str], None]) -> None:
        self._cluster, self._say = cluster, say
        self.looks: list[Look] = []

    def until(self, condition: Callable[[], bool]) -> None:
        """Look again and again until the condition holds.

        Raises:
            AssertionError: that took longer than `PATIENCE`.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            nodes = frozenset(self._cluster.nodes())
            if not self.looks or nodes != self.looks[-1][1]:
                self._say(f"{len(nodes)} worker nodes: {sorted(nodes)}")
            self.looks.append((time.time(), nodes))
            if condition():
                return
            assert time.monotonic() < deadline, f"nothing more happened in {PATIENCE:g} s"
            time.sleep(EVERY)


def measure(folder: Path, say: Callable[[str], None] = print) -> Seen:
    """Run the audit on a cluster that grows, kill a node on the way, and wait until all have left.

    Args:
        folder: for recipe, networks and results.
        say: called with a line when something happens.

    Raises:
        AssertionError: the audit failed, or nodes did not come or go.
    """
    audit = Audit(folder / "grows", train(folder / "trained", CHANGED), CHANGED)
    with autoscaling_head(max_nodes=NODES) as cluster:
        watch = Watch(cluster, say)
        watch.until(lambda: True)
        driver = cluster.start(*audit.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        def running(condition: bool) -> bool:
            assert driver.poll() is None, f"ended early: {driver.communicate()[0][-3000:]}"
            return condition

        watch.until(lambda: running(len(watch.looks[-1][1]) == NODES))
        watch.until(lambda: running(len(at_work(cluster)) == NODES))
        victim = at_work(cluster)[NODES // 2]
        cluster.kill_node(victim)
        killed = time.time()
        say(f"node {victim} killed, {audit.shards()} shards stored")
        watch.until(lambda: driver.poll() is not None)
        ended = time.time()
        output = driver.communicate()[0]
        assert driver.returncode == 0, output[-3000:]
        say("the audit has ended")
        watch.until(lambda: not cluster.nodes())
    record = audit.record()
    # The record is written as soon as the last sample is taken.
    zero = audit.record_file.stat().st_mtime - record["timeline"][-1]["seconds"]
    looks = tuple((round(t - zero, 1), nodes) for t, nodes in watch.looks)
    return Seen(looks, killed - zero, victim, ended - zero, record, audit.rows())


def undisturbed(folder: Path) -> Rows:
    """The same audit by two workers on a node that stays, in large shards, with the networks of `measure`."""
    quiet = {**CHANGED, "runtime.attack_workers": 2, "runtime.grows": False} | {
        "runtime.shard_size": 40,
        "runtime.shard_seconds": 60.0,
    }
    audit = Audit(folder / "quiet", folder / "trained", quiet)
    with static_cluster(nodes=0, head_cpus=2) as cluster:
        done = cluster.run(*audit.command, seconds=PATIENCE)
    assert done.returncode == 0, done.stdout[-3000:]
    return audit.rows()


def figures(seen: Seen) -> str:
    """What was seen, in one line."""
    return (
        f"0 to {NODES} nodes in {seen.full:.0f} s; one killed at "
        f"{seen.killed:.0f} s, replaced after {seen.replaced:.0f} s; audit ended at {seen.ended:.0f} s; "
        f"{len(seen.rows)} of {ROWS} rows, each once; 0 nodes {seen.empty:.0f} s after the work"
    )


def page(seen: Seen) -> str:
    """The timeline as an HTML document that needs no other file."""
    environment = Environment(loader=PackageLoader("inversionlab.report", "templates"))
    style = environment.get_template("style.css").render()
    figure = timeline_figure(seen.samples)
    assert figure is not None
    chart = f'<figure class="wide"><p>{figure.about}</p><div class="plot">{figure.picture}</div></figure>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Elasticity</title>'
        f"<style>{style}</style></head>\n<body><main><section><h2>Nodes come and go with the work</h2>"
        f'<p class="about">{figures(seen)}.</p>\n{chart}</section></main></body></html>\n'
    )


def main() -> None:
    """Measure, print the figures, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, default=Path("elasticity.html"), help="where to")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = measure(Path(folder))
    given.page.write_text(page(seen))
    print(f"{figures(seen)}\npage: {given.page}")


if __name__ == "__main__":
    main()
