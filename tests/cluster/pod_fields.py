"""The fields of Kubernetes' pods that our manifests use, as strict models; see kuberay_fields.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Quantity = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?(m|k|[KMGTP]i|[MGTPE])?$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
Texts = Annotated[dict[str, str], Field(default_factory=dict)]
Count = Annotated[int, Field(ge=0, lt=2**31)]


class Strict(BaseModel):
    """No unknown fields, no conversions: Kubernetes makes no number of a text either."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Capabilities(Strict):
    add: list[str] = []
    drop: list[str] = []


class SeccompProfile(Strict):
    type: Literal["RuntimeDefault", "Localhost", "Unconfined"]


class SecurityContext(Strict):
    allowPrivilegeEscalation: bool | None = None
    privileged: bool | None = None
    readOnlyRootFilesystem: bool | None = None
    runAsNonRoot: bool | None = None
    runAsUser: Count | None = None
    capabilities: Capabilities | None = None
    seccompProfile: SeccompProfile | None = None


class PodSecurityContext(Strict):
    runAsUser: Count | None = None
    runAsGroup: Count | None = None
    fsGroup: Count | None = None
    runAsNonRoot: bool | None = None


class Resources(Strict):
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}


class ObjectName(Strict):
    name: Name


class EnvFrom(Strict):
    configMapRef: ObjectName | None = None
    secretRef: ObjectName | None = None


class Port(Strict):
    containerPort: Annotated[int, Field(ge=1, le=65535)]
    name: Annotated[Name, Field(max_length=15)]
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class Mount(Strict):
    name: Name
    mountPath: str
    readOnly: bool = False


class Exec(Strict):
    command: list[str]


class Handler(Strict):
    exec: Exec


class Lifecycle(Strict):
    preStop: Handler | None = None


class SecretKey(Strict):
    name: Name
    key: str


class ValueFrom(Strict):
    secretKeyRef: SecretKey


class Env(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
    value: str | None = None
    valueFrom: ValueFrom | None = None


class Container(Strict):
    name: Name
    image: str
    securityContext: SecurityContext
    command: list[str] = []
    env: list[Env] = []
    envFrom: list[EnvFrom] = []
    ports: list[Port] = []
    lifecycle: Lifecycle | None = None
    resources: Resources
    volumeMounts: list[Mount] = []


class EmptyDir(Strict):
    medium: Literal["", "Memory"] = ""
    sizeLimit: Quantity | None = None


class Volume(Strict):
    name: Name
    emptyDir: EmptyDir


class Toleration(Strict):
    key: str
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class PodSpec(Strict):
    serviceAccountName: Name | None = None
    automountServiceAccountToken: bool | None = None
    restartPolicy: Literal["Always", "OnFailure", "Never"] = "Always"
    terminationGracePeriodSeconds: Count | None = None
    securityContext: PodSecurityContext | None = None
    nodeSelector: Texts
    tolerations: list[Toleration] = []
    containers: Annotated[list[Container], Field(min_length=1)]
    volumes: list[Volume] = []


class PodTemplate(Strict):
    metadata: dict[str, Any] | None = None
    spec: PodSpec


class ExitCodes(Strict):
    containerName: Name | None = None
    operator: Literal["In", "NotIn"]
    values: Annotated[list[Count], Field(min_length=1, max_length=255)]


class PodCondition(Strict):
    type: str
    status: Literal["True", "False", "Unknown"] = "True"


class FailureRule(Strict):
    action: Literal["FailJob", "FailIndex", "Ignore", "Count"]
    onExitCodes: ExitCodes | None = None
    onPodConditions: list[PodCondition] | None = None

    @model_validator(mode="after")
    def _has_one_condition(self) -> Self:
        if (self.onExitCodes is None) == (self.onPodConditions is None):
            raise ValueError("one of onExitCodes and onPodConditions")
        return self


class FailurePolicy(Strict):
    rules: Annotated[list[FailureRule], Field(min_length=1, max_length=20)]


class JobSpec(Strict):
    backoffLimit: Count = 6
    podFailurePolicy: FailurePolicy | None = None
    activeDeadlineSeconds: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    ttlSecondsAfterFinished: Count | None = None
    template: PodTemplate

    @model_validator(mode="after")
    def _policy_needs_never(self) -> Self:
        if self.podFailurePolicy is not None and self.template.spec.restartPolicy != "Never":
            raise ValueError("podFailurePolicy needs restartPolicy: Never")
        return self


class Job(Strict):
    apiVersion: Literal["batch/v1"]
    kind: Literal["Job"]
    metadata: dict[str, str]
    spec: JobSpec
