"""Scalable targets of SageMaker: a variant, and what of it is scaled."""

import re
import sys
from enum import StrEnum
from typing import Any, NamedTuple, Self

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.hosting.interfaces import VariantSpec
from polyhost.emulator.hosting.variants import Variant

NAMESPACE = "sagemaker"
_RESOURCE_ID = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")


class Dimension(StrEnum):
    """What of a variant is scaled (botocore, ScalableDimension)."""

    INSTANCES = "sagemaker:variant:DesiredInstanceCount"
    PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"

    @property
    def words(self) -> str:
        """The dimension in the sentences of scaling activities."""
        return "desired instance count" if self is Dimension.INSTANCES else "desired provisioned concurrency"

    def capacity(self, variant: Variant) -> int:
        """Return what was asked for last."""
        return self.capacity_of(variant.current_spec)

    def capacity_of(self, spec: VariantSpec) -> int:
        """Return what a specification asks for."""
        if self is Dimension.INSTANCES:
            return spec.instance_count
        return spec.serverless.provisioned if spec.serverless is not None else 0


class TargetId(NamedTuple):
    """What names a scalable target in a region."""

    endpoint: str
    variant: str
    dimension: Dimension

    @classmethod
    def parse(cls, resource_id: str, dimension: str) -> Self:
        """Raise ValueError for a resource or a dimension that is not of a variant."""
        found = _RESOURCE_ID.fullmatch(resource_id)
        if found is None or dimension not in list(Dimension):
            raise ValueError("Unsupported service namespace, resource type or scalable dimension")
        return cls(found[1], found[2], Dimension(dimension))

    @property
    def resource_id(self) -> str:
        return f"endpoint/{self.endpoint}/variant/{self.variant}"

    def described(self) -> str:
        """Return AWS's words for the target."""
        return f"service namespace: {NAMESPACE}, resource ID: {self.resource_id}, scalable dimension: {self.dimension}"


def target_id(record: Any) -> TargetId:
    """Return what a scalable target, a policy or a scheduled action of moto's is about."""
    return TargetId.parse(record.resource_id, record.scalable_dimension)


def scalable_targets(region: str) -> dict[TargetId, Any]:
    """Return moto's scalable targets of SageMaker in a region."""
    if region not in scaling_regions():
        return {}
    by_dimension = scaling_backend(region).targets
    found = [target for dimension in Dimension for target in list(by_dimension.get(dimension, {}).values())]
    return {target_id(target): target for target in found}


def scaling_backend(region: str) -> Any:
    """Return moto's Application Auto Scaling of a region."""
    from moto.applicationautoscaling.models import applicationautoscaling_backends

    return applicationautoscaling_backends[ACCOUNT][region]


def scaling_regions() -> list[str]:
    """Return the regions that have scalable targets, or had some."""
    # Without any, moto's module is not imported: it brings ECS and EC2 along, which takes a second.
    backends = getattr(sys.modules.get("moto.applicationautoscaling.models"), "applicationautoscaling_backends", None)
    return list(backends[ACCOUNT]) if backends is not None else []
