"""The KubeRay manifests: against the published fields, through Ray's own translation, and rules of our own."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.autoscaler._private.util import validate_config
from ray.runtime_env import RuntimeEnv

from inversionlab.core.yaml_io import parse_yaml
from tests.cluster.kuberay_fields import RayCluster, RayJob, WorkerGroup

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"


def _manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = parse_yaml((CLUSTER / "kuberay" / name).read_text(encoding="utf-8"))
    return loaded


def test_published_fields() -> None:
    cluster = RayCluster.model_validate(_manifest("raycluster.yaml")).spec
    job = RayJob.model_validate(_manifest("rayjob.yaml")).spec
    assert job.rayClusterSpec == cluster
    assert cluster.authOptions.mode == "token"
    assert cluster.enableInTreeAutoscaling
    assert job.shutdownAfterJobFinishes
    assert job.backoffLimit >= 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "authOption"), {"mode": "token"}),
        (("spec", "authOptions", "mode"), "tokens"),
        (("spec", "workerGroupSpecs", 1, "minReplicas"), 33),
        (("spec", "workerGroupSpecs", 1, "maxReplicas"), "32"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0, "imagePull"), "Always"),
        (("apiVersion",), "ray.io/v1alpha1"),
    ],
)
def test_damaged_manifests_are_refused(path: tuple[str | int, ...], value: object) -> None:
    manifest = copy.deepcopy(_manifest("raycluster.yaml"))
    node: Any = manifest
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    with pytest.raises(ValidationError):
        RayCluster.model_validate(manifest)


def test_ray_reads_the_groups_as_meant() -> None:
    """Ray's own translation of a RayCluster, which its autoscaler works by."""
    manifest = _manifest("raycluster.yaml")
    manifest["metadata"]["namespace"] = "inversionlab"
    config = _derive_autoscaling_config_from_ray_cr(manifest)
    validate_config(config)
    kinds = config["available_node_types"]
    assert kinds[config["head_node_type"]]["resources"]["CPU"] == 0
    train, attack = kinds["gpu-train"], kinds["cpu-attack"]
    assert {k: train["resources"][k] for k in ("CPU", "GPU", "train")} == {
        "CPU": 8,
        "GPU": 1,
        "train": 1,
    }
    assert {k: attack["resources"][k] for k in ("CPU", "attack")} == {"CPU": 8, "attack": 8}
    assert "GPU" not in attack["resources"]
    assert train["min_workers"] == attack["min_workers"] == 0
    assert (train["max_workers"], attack["max_workers"], config["max_workers"]) == (2, 32, 34)
    assert config["idle_timeout_minutes"] == 5


def _kubernetes_resource(group: WorkerGroup, name: str) -> str | None:
    return group.template.spec.containers[0].resources.limits.get(name)


def test_pods_are_locked_and_promise_what_they_have() -> None:
    cluster = RayCluster.model_validate(_manifest("raycluster.yaml")).spec
    groups = cluster.workerGroupSpecs
    for spec in [cluster.headGroupSpec.template.spec, *(g.template.spec for g in groups)]:
        assert spec.securityContext is not None
        assert spec.securityContext.runAsUser == 1000
        # The autoscaler counts a pod as a node: a pod that restarts in place would be a second one.
        assert spec.restartPolicy == "Never"
        for container in spec.containers:
            assert container.securityContext.runAsNonRoot
            assert container.securityContext.allowPrivilegeEscalation is False
            assert container.resources.requests == container.resources.limits
    for group in groups:
        assert group.minReplicas == group.replicas == 0
        assert group.template.spec.tolerations
        assert group.template.spec.automountServiceAccountToken is False
        assert group.template.spec.containers[0].lifecycle is not None
        assert _kubernetes_resource(group, "cpu") == group.resources["CPU"]
        assert _kubernetes_resource(group, "nvidia.com/gpu") == group.resources.get("GPU")


def test_support_opens_nothing_and_holds_no_secret() -> None:
    text = (CLUSTER / "kuberay" / "support.yaml").read_text(encoding="utf-8")
    parts = {part["kind"]: part for part in yaml.safe_load_all(text)}
    assert set(parts) == {"ServiceAccount", "ConfigMap", "NetworkPolicy"}
    assert set(parts["ConfigMap"]["data"]) == {"INVERSIONLAB_STORAGE"}
    policy = parts["NetworkPolicy"]["spec"]
    assert (policy["podSelector"], policy["policyTypes"]) == ({}, ["Ingress"])
    within, operator = policy["ingress"]
    assert within == {"from": [{"podSelector": {}}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert operator["from"][0]["namespaceSelector"]["matchLabels"]


def test_the_job_carries_its_code() -> None:
    environment = RuntimeEnv(**parse_yaml(_manifest("rayjob.yaml")["spec"]["runtimeEnvYAML"]))
    assert environment["working_dir"].endswith(".zip")


def test_the_versions_are_one() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    assert _manifest("raycluster.yaml")["spec"]["rayVersion"] == pins["ray"]
