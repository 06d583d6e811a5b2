"""Endpoints as DescribeEndpoint describes them."""

from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.api.control_plane.store import Resource
from polyhost.emulator.hosting.endpoint import Endpoint, EndpointStatus
from polyhost.emulator.hosting.interfaces import VariantSpec
from polyhost.emulator.hosting.variants import Variant


def describe(endpoint: Endpoint, resource: Resource) -> Members:
    """Return the members of DescribeEndpoint's response; those without a value are None."""
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.config_name,
        "EndpointStatus": endpoint.status,
        "FailureReason": endpoint.failure_reason,
        "CreationTime": resource.created,
        "LastModifiedTime": resource.modified,
        "ProductionVariants": _variants(endpoint, shadow=False) or None,
        "ShadowProductionVariants": _variants(endpoint, shadow=True) or None,
        "PendingDeploymentSummary": _pending_deployment(endpoint),
        "LastDeploymentConfig": resource.changes.get("DeploymentConfig"),
    }


def _variants(endpoint: Endpoint, shadow: bool) -> list[Members]:
    deployment = endpoint.deployment
    if endpoint.status is EndpointStatus.CREATING and deployment is not None:
        return [_pending_variant(spec, deployment.since) for spec in deployment.specs if spec.shadow is shadow]
    return [_variant(variant) for variant in endpoint.variants if variant.spec.shadow is shadow]


def _variant(variant: Variant) -> Members:
    images = zip(variant.spec.containers, variant.digests, strict=True)
    return {
        "VariantName": variant.name,
        "DeployedImages": [_deployed_image(container.image, digest, variant.started) for container, digest in images],
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.desired_weight,
        "CurrentInstanceCount": len(variant.fleet.instances),
        "DesiredInstanceCount": variant.desired_count,
    }


def _deployed_image(image: str, digest: str, since: float) -> Members:
    resolved = f"{image.partition('@')[0]}@{digest}" if digest.startswith("sha256:") else image
    return {"SpecifiedImage": image, "ResolvedImage": resolved, "ResolutionTime": since}


def _pending_variant(spec: VariantSpec, since: float) -> Members:
    return {
        "VariantName": spec.name,
        "CurrentWeight": 0.0,
        "DesiredWeight": spec.weight,
        "CurrentInstanceCount": 0,
        "DesiredInstanceCount": spec.instance_count,
        "VariantStatus": [{"Status": "Creating", "StartTime": since}],
    }


def _pending_deployment(endpoint: Endpoint) -> Members | None:
    deployment = endpoint.deployment
    if endpoint.status is not EndpointStatus.UPDATING or deployment is None:
        return None
    production, shadows = (
        [
            _pending_variant(spec, deployment.since) | {"InstanceType": spec.instance_type}
            for spec in deployment.specs
            if spec.shadow is shadow
        ]
        for shadow in (False, True)
    )
    return {
        "EndpointConfigName": deployment.config_name,
        "ProductionVariants": production,
        "ShadowProductionVariants": shadows or None,
        "StartTime": deployment.since,
    }
