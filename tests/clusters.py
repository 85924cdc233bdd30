"""Real Ray clusters on this one machine, for tests: a head that scales, nodes that die, a job server.

Each cluster has a private folder under /tmp, its own ports, and token authentication (Ray 2.60 listens on all
interfaces even when told 127.0.0.1; only the dashboard keeps to loopback). A cluster finds its processes by that
folder (in command lines and environments), by process session and by descent, and ends them with SIGKILL when the
`with` block ends, however it ends. Other Rays on the machine are not touched; `ray stop` would end them all.

Run drivers in processes of their own (`Cluster.start`, `Cluster.run`): Ray keeps the token and the connection per
process, and a test session may already hold a local Ray.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.processes import HANG, Process, family, free_ports, kill, processes, wait_until

CHECKOUT = Path(__file__).resolve().parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
NODE_ID = "RAY_OVERRIDE_NODE_ID_FOR_TESTING"
STORE_BYTES = 100_000_000

SETTINGS = {
    # A lost node is noticed after about 2 s instead of 20.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


def node_id(number: int) -> str:
    """Ray's id of a node of these clusters; 0 is the head, workers count from 1 in the order of their start."""
    return "f" * 51 + f"{number:05d}"


def nodes_alive() -> list[dict[str, Any]]:
    """The living nodes, as the calling driver sees them: `ray.nodes()` without the dead."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


class Cluster:
    """A running cluster; the functions below make one.

    Attributes:
        temp: its folder, readable by this user only and deleted when it ends; Ray's logs are in
            `temp/ray/session_latest/logs`, the output of `ray start` in `temp/*.txt`.
        env: the environment of its nodes and of `ray job ...`: address and token file. As on a real cluster, the
            package is not on its path; drivers of `start` have it.
        address: `HOST:PORT` of its GCS, as in `RAY_ADDRESS`.
        dashboard: `http://127.0.0.1:PORT` of dashboard and job server, if the head has them.
    """

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self._port, self._web = free_ports(2)
        self.address = f"{own_address()}:{self._port}"
        self.dashboard = f"http://127.0.0.1:{self._web}"
        token = temp / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        hidden = ("RAY_", "PYTHONPATH")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(hidden)},
            **SETTINGS,
            # So that a job's `python` is the one that has Ray.
            "PATH": os.pathsep.join((str(Path(RAY).parent), os.environ.get("PATH", ""))),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_TMPDIR": str(temp),
            "RAY_ADDRESS": self.address,
            "RAY_API_SERVER_ADDRESS": self.dashboard,
        }
        self._started: list[subprocess.Popen[str]] = []
        self._starting: dict[int, subprocess.Popen[str]] = {}
        self._added = 0

    def start(self, *command: str, **more: Any) -> subprocess.Popen[str]:
        """Start a driver in the checkout: `start(sys.executable, "jobs/audit.py", ...)`; `more` is for Popen."""
        paths = os.pathsep.join((str(CHECKOUT / "platform"), str(CHECKOUT)))
        environment = {**self.env, "PYTHONPATH": paths}
        options = {"cwd": CHECKOUT, "env": environment, "text": True, **more}
        process = subprocess.Popen(command, start_new_session=True, **options)
        self._started.append(process)
        return process

    def run(self, *command: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a driver to its end; `stdout` holds what it printed, errors included."""
        with self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                kill(family([process.pid], processes()))
                raise
        return subprocess.CompletedProcess(command, process.returncode, output)

    def nodes(self) -> dict[int, int]:
        """Process ids of the living raylets by node number, without the head."""
        found = {}
        for process in self.processes():
            if process.command[0].endswith("/raylet/raylet"):
                environment = dict(e.partition("=")[::2] for e in process.environment)
                found[int(environment[NODE_ID][-5:])] = process.pid
        found.pop(0, None)
        return dict(sorted(found.items()))

    def kill_node(self, number: int) -> None:
        """End a node at once: SIGKILL for its raylet and all that it started, workers included."""
        kill(family([self.nodes()[number]], processes()))

    def add_nodes(self, count: int = 1, cpus: int = 1) -> list[int]:
        """Start worker nodes by `ray start --address` and return their numbers once they have joined."""
        numbers = list(range(self._added + 1, self._added + count + 1))
        self._added += count
        for number in numbers:
            agent, metrics = free_ports(2)
            self._ray_start(
                number,
                f"--address={self.address}",
                f"--num-cpus={cpus}",
                f"--dashboard-agent-listen-port={agent}",
                f"--metrics-export-port={metrics}",
            )
            # One by one: two nodes that start at once would choose the same names for their sockets.
            self._await_raylet(number)
        for number in numbers:
            self._await(number)
        return numbers

    def close(self) -> None:
        """End every process of this cluster and of its drivers, then remove its folder."""
        deadline = time.monotonic() + 30
        while left := self.processes():
            if time.monotonic() > deadline:
                raise AssertionError(f"still running: {[(p.pid, p.command) for p in left]}")
            kill(process.pid for process in left)
            time.sleep(0.1)
        for process in self._started:
            process.wait()
        shutil.rmtree(self.temp, ignore_errors=True)

    def start_head(self, *flags: str, cpus: int, dashboard: bool = False, **env: str) -> None:
        """Start node 0, with further flags of `ray start` and further environment variables."""
        agent, metrics, client = free_ports(3)
        self._ray_start(
            0,
            "--head",
            f"--num-cpus={cpus}",
            f"--port={self._port}",
            f"--temp-dir={self.temp / 'ray'}",
            f"--include-dashboard={str(dashboard).lower()}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._web}",
            f"--dashboard-agent-listen-port={agent}",
            f"--metrics-export-port={metrics}",
            f"--ray-client-server-port={client}",
            *flags,
            **env,
        )
        self._await(0)

    def _ray_start(self, number: int, *flags: str, **env: str) -> None:
        with self._output(number).open("w") as output:
            self._starting[number] = self.start(
                *(RAY, "start", "--block", "--disable-usage-stats", *flags),
                # Several nodes on one machine would give out the same ports from Ray's fixed range.
                *("--min-worker-port=0", "--max-worker-port=0"),
                f"--object-store-memory={STORE_BYTES}",
                env={**self.env, NODE_ID: node_id(number), **env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _await_raylet(self, number: int) -> None:
        wait_until(lambda: number in self.nodes(), HANG, f"node {number} has a raylet")

    def _await(self, number: int) -> None:
        process = self._starting.pop(number)

        def up() -> bool:
            output = self._output(number).read_text()
            assert process.poll() is None, f"ray start of node {number} ended: {output}"
            return "Ray runtime started" in output

        wait_until(up, HANG, f"node {number} is up")

    def _output(self, number: int) -> Path:
        return self.temp / f"node{number}.txt"

    def processes(self) -> list[Process]:
        """All living processes of this cluster: its nodes, their workers, its drivers and jobs."""
        among = processes()
        mark, sessions = str(self.temp), {process.pid for process in self._started}
        roots = [
            process.pid
            for process in among
            if process.session in sessions
            or any(mark in word for word in (*process.command, *process.environment))
        ]
        members = family(roots, among) - {os.getpid()}
        return [process for process in among if process.pid in members]


def own_address() -> str:
    """This machine's address, which Ray uses instead of 127.0.0.1."""
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


@contextlib.contextmanager
def empty_cluster() -> Iterator[Cluster]:
    """A cluster without processes; everything is ended and removed when the block ends."""
    # Ray lets all users read its own folder; the one above it keeps them out.
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="ilc", dir="/tmp")))
    try:
        yield cluster
    finally:
        cluster.close()


@contextlib.contextmanager
def static_cluster(nodes: int = 3, cpus: int = 1, head_cpus: int = 0) -> Iterator[Cluster]:
    """A head and worker nodes 1 to `nodes` with `cpus` CPUs each, all processes of this machine."""
    with empty_cluster() as cluster:
        cluster.start_head(cpus=head_cpus)
        cluster.add_nodes(nodes, cpus)
        yield cluster


@contextlib.contextmanager
def job_head(cpus: int = 2) -> Iterator[Cluster]:
    """A head with dashboard and job server; `cluster.run(RAY, "job", "submit", ...)` reaches it."""
    with empty_cluster() as cluster:
        cluster.start_head(cpus=cpus, dashboard=True)
        yield cluster


@contextlib.contextmanager
def autoscaling_head(
    max_nodes: int, cpus_per_node: int = 1, idle_seconds: float = 6
) -> Iterator[Cluster]:
    """A head without CPUs that starts and ends worker nodes as the work needs them.

    Args:
        max_nodes: worker nodes at most.
        cpus_per_node: CPUs of a worker node.
        idle_seconds: how long a node is idle before it ends.
    """
    with empty_cluster() as cluster:
        file = cluster.temp / "autoscaling.json"
        file.write_text(
            json.dumps(_autoscaling(cluster.address, max_nodes, cpus_per_node, idle_seconds))
        )
        cluster.start_head(
            f"--autoscaling-config={file}",
            cpus=0,
            RAY_FAKE_CLUSTER="1",
            AUTOSCALER_UPDATE_INTERVAL_S="1",
            # A dead node is replaced after these seconds instead of 30.
            AUTOSCALER_HEARTBEAT_TIMEOUT_S="10",
        )
        yield cluster


def _autoscaling(address: str, nodes: int, cpus: int, idle: float) -> dict[str, Any]:
    """The cluster file for Ray's fake provider, whose nodes are processes of this machine."""
    provider = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    size = {"CPU": cpus, "object_store_memory": STORE_BYTES}
    return {
        "cluster_name": "test",
        "max_workers": nodes,
        "upscaling_speed": 10,
        "idle_timeout_minutes": idle / 60,
        "provider": {
            "type": "external",
            "module": provider,
            "gcs_address": address,
            "head_node_id": node_id(0),
            "launch_multiple": True,
            "disable_node_updaters": True,
            # Launched in the background, more nodes than allowed are asked for while the first still start.
            "foreground_node_launch": True,
            "use_node_id_as_ip": True,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": size,
                "node_config": {},
                "min_workers": 0,
                "max_workers": nodes,
            },
        },
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
    }
