"""The KubeRay manifests: against the published fields, through Ray's own translation, and rules of our own."""

import copy
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.autoscaler._private.util import validate_config
from ray.job_submission import JobStatus
from ray.runtime_env import RuntimeEnv

from inversionlab.core.yaml_io import parse_yaml
from tests.cluster.kuberay_fields import RayCluster, RayJob, WorkerGroup
from tests.cluster.pod_fields import Job, PodSpec

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
    # KubeRay's own tries know no exit code: a wrong recipe would start the cluster again and again.
    assert job.backoffLimit == 0


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


def _pods() -> dict[str, PodSpec]:
    """Every pod of the manifests, by what it is."""
    job = RayJob.model_validate(_manifest("rayjob.yaml")).spec
    assert job.submitterPodTemplate is not None
    pods = {
        "submitter": job.submitterPodTemplate.spec,
        "search": Job.model_validate(_manifest("search.yaml")).spec.template.spec,
    }
    for name, cluster in (
        ("raycluster", RayCluster.model_validate(_manifest("raycluster.yaml")).spec),
        ("rayjob", job.rayClusterSpec),
    ):
        pods[f"{name} head"] = cluster.headGroupSpec.template.spec
        pods |= {f"{name} {g.groupName}": g.template.spec for g in cluster.workerGroupSpecs}
    return pods


@pytest.mark.parametrize("name", _pods())
def test_no_pod_can_write_but_to_its_volumes_or_gain_rights(name: str) -> None:
    spec = _pods()[name]
    assert spec.restartPolicy == "Never"
    assert spec.securityContext is not None
    assert spec.securityContext.runAsUser == 1000
    if not name.endswith("head"):  # Its autoscaler asks Kubernetes for pods.
        assert spec.automountServiceAccountToken is False
    for container in spec.containers:
        context = container.securityContext
        assert (context.runAsNonRoot, context.allowPrivilegeEscalation) == (True, False)
        assert context.readOnlyRootFilesystem is True
        assert context.capabilities is not None
        assert context.capabilities.drop == ["ALL"]
        assert context.seccompProfile is not None
        volumes = {volume.name: volume.emptyDir for volume in spec.volumes}
        places = {mount.mountPath: mount.name for mount in container.volumeMounts}
        assert {"/tmp", "/home/ray"} <= places.keys()
        assert all(volumes[name].sizeLimit for name in places.values())


def test_the_autoscaler_is_locked_as_well() -> None:
    for name in ("raycluster.yaml", "rayjob.yaml"):
        spec = _manifest(name)["spec"]
        options = (spec.get("rayClusterSpec") or spec)["autoscalerOptions"]
        assert options["securityContext"]["readOnlyRootFilesystem"] is True
        assert options["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_a_wrong_recipe_is_not_tried_again_and_other_faults_are() -> None:
    spec = Job.model_validate(_manifest("search.yaml")).spec
    assert spec.backoffLimit == 3
    assert spec.podFailurePolicy is not None
    fail, ignore = spec.podFailurePolicy.rules
    assert (fail.action, ignore.action) == ("FailJob", "Ignore")
    assert fail.onExitCodes is not None
    assert fail.onExitCodes.containerName == spec.template.spec.containers[0].name
    assert (fail.onExitCodes.operator, fail.onExitCodes.values) == ("In", [2, 3, 130])
    assert ignore.onPodConditions is not None
    assert ignore.onPodConditions[0].type == "DisruptionTarget"


class _Client:
    """A stand-in for Ray's client: one job that ends with a code, perhaps already at work."""

    def __init__(self, code: int | None, status: str, at_work: bool) -> None:
        self.code, self.status, self.at_work = code, JobStatus(status), at_work
        self.submitted: list[str] = []
        self.looks = 0

    def list_jobs(self) -> list[Any]:
        ended = SimpleNamespace(
            entrypoint="the command", status=JobStatus.FAILED, submission_id="old"
        )
        ours = SimpleNamespace(
            entrypoint="the command", status=JobStatus.RUNNING, submission_id="ours"
        )
        other = SimpleNamespace(
            entrypoint="other", status=JobStatus.RUNNING, submission_id="theirs"
        )
        return [ended, other, *([ours] if self.at_work else [])]

    def submit_job(self, *, entrypoint: str, runtime_env: dict[str, str]) -> str:
        assert runtime_env == {"working_dir": "s3://code.zip"}
        self.submitted.append(entrypoint)
        return "ours"

    def get_job_status(self, name: str) -> JobStatus:
        assert name == "ours"
        self.looks += 1
        return self.status if self.looks > 1 else JobStatus.RUNNING

    def get_job_logs(self, name: str) -> str:
        return "one\n" if self.looks == 1 else "one\ntwo\n"

    def get_job_info(self, name: str) -> Any:
        return SimpleNamespace(driver_exit_code=self.code, status=self.status)


@pytest.mark.parametrize(
    ("code", "status", "ends"),
    [
        (0, "SUCCEEDED", 0),
        (2, "FAILED", 2),
        (1, "FAILED", 1),
        (None, "SUCCEEDED", 0),
        (None, "FAILED", 1),
        (143, "FAILED", 143),
        (143, "STOPPED", 130),
        (-15, "STOPPED", 130),
    ],
)
@pytest.mark.parametrize("at_work", [False, True])
def test_the_search_hands_its_exit_code_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int | None,
    status: str,
    ends: int,
    at_work: bool,
) -> None:
    client = _Client(code, status, at_work)
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", lambda address: client)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for name, value in {
        "ADDRESS": "http://h",
        "COMMAND": "the command",
        "CODE": "s3://code.zip",
    }.items():
        monkeypatch.setenv(name, value)
    container = Job.model_validate(_manifest("search.yaml")).spec.template.spec.containers[0]
    assert container.command[:2] == ["python", "-c"]
    with pytest.raises(SystemExit) as end:
        exec(compile(container.command[2], "search.yaml", "exec"), {})
    assert end.value.code == ends
    assert client.submitted == ([] if at_work else ["the command"])
    assert capsys.readouterr().out == "one\ntwo\n"


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
    parts = {(part["kind"], part["metadata"]["name"]): part for part in yaml.safe_load_all(text)}
    assert set(parts) == {
        *(("ServiceAccount", "inversionlab"), ("ConfigMap", "inversionlab")),
        *(("NetworkPolicy", "inversionlab"), ("NetworkPolicy", "inversionlab-head")),
    }
    assert set(parts["ConfigMap", "inversionlab"]["data"]) == {"INVERSIONLAB_STORAGE"}
    policy = parts["NetworkPolicy", "inversionlab"]["spec"]
    assert (policy["podSelector"], policy["policyTypes"]) == ({}, ["Ingress", "Egress"])
    within, operator = policy["ingress"]
    assert within == {"from": [{"podSelector": {}}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert operator["from"][0]["namespaceSelector"]["matchLabels"]


def test_users_code_reaches_no_other_host() -> None:
    text = (CLUSTER / "kuberay" / "support.yaml").read_text(encoding="utf-8")
    policies = [p["spec"] for p in yaml.safe_load_all(text) if p["kind"] == "NetworkPolicy"]
    rules = [rule for policy in policies for rule in policy["egress"]]
    # A rule without `to`, or with an open block, would let everything out.
    assert all(rule["to"] for rule in rules)
    blocks = {peer["ipBlock"]["cidr"] for rule in rules for peer in rule["to"] if "ipBlock" in peer}
    assert blocks == {"REPLACE-BUCKET-CIDR", "169.254.169.252/32", "REPLACE-API-SERVER-CIDR"}
    within, *others = policies[0]["egress"]
    assert within == {"to": [{"podSelector": {}}]}
    assert all(rule["ports"] for rule in (*others, *policies[1]["egress"]))
    assert policies[1]["podSelector"] == {"matchLabels": {"ray.io/node-type": "head"}}


def test_the_job_carries_its_code() -> None:
    environment = RuntimeEnv(**parse_yaml(_manifest("rayjob.yaml")["spec"]["runtimeEnvYAML"]))
    assert environment["working_dir"].endswith(".zip")


def test_the_versions_are_one() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    assert _manifest("raycluster.yaml")["spec"]["rayVersion"] == pins["ray"]
