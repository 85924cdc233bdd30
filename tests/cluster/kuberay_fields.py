"""The fields of KubeRay's ray.io/v1 that our manifests use, as strict models.

Written by hand from what KubeRay (1.5.1 to 1.6) documents; a field that is not here is refused, so a misspelt
one is found. A new field in a manifest is added here from the published reference.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tests.cluster.pod_fields import (
    Count,
    Mount,
    Name,
    PodTemplate,
    Resources,
    SecurityContext,
    Strict,
    Texts,
)


class Metadata(Strict):
    name: Name | None = None
    generateName: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*)$")] | None = None
    namespace: Name | None = None
    labels: Texts
    annotations: Texts

    @model_validator(mode="after")
    def _has_one_name(self) -> Self:
        if (self.name is None) == (self.generateName is None):
            raise ValueError("one of name and generateName")
        return self


class Auth(Strict):
    mode: Literal["token", "disabled"] = "token"


class AutoscalerOptions(Strict):
    version: Literal["v1", "v2"] | None = None
    idleTimeoutSeconds: Count | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    securityContext: SecurityContext | None = None
    resources: Resources | None = None
    volumeMounts: Annotated[list[Mount], Field(default_factory=list)]


class Head(Strict):
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    enableIngress: bool | None = None
    rayStartParams: Texts
    resources: Texts
    labels: Texts
    template: PodTemplate


class WorkerGroup(Strict):
    groupName: Name
    replicas: Count = 0
    minReplicas: Count
    maxReplicas: Count
    rayStartParams: Texts
    resources: Texts
    labels: Texts
    template: PodTemplate

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.minReplicas <= self.replicas <= self.maxReplicas:
            raise ValueError("minReplicas <= replicas <= maxReplicas")
        return self


class RayClusterSpec(Strict):
    rayVersion: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    authOptions: Auth
    enableInTreeAutoscaling: bool
    autoscalerOptions: AutoscalerOptions
    headGroupSpec: Head
    workerGroupSpecs: list[WorkerGroup]


class RayCluster(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: RayClusterSpec


class RayJobSpec(Strict):
    entrypoint: Annotated[str, Field(min_length=1)]
    runtimeEnvYAML: str = ""
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]
    backoffLimit: Count = 0
    submitterPodTemplate: PodTemplate | None = None
    shutdownAfterJobFinishes: bool = False
    ttlSecondsAfterFinished: Count = 0
    activeDeadlineSeconds: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    rayClusterSpec: RayClusterSpec

    @model_validator(mode="after")
    def _ttl_needs_shutdown(self) -> Self:
        if self.ttlSecondsAfterFinished and not self.shutdownAfterJobFinishes:
            raise ValueError("ttlSecondsAfterFinished needs shutdownAfterJobFinishes")
        return self


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec
