"""Endpoints as DescribeEndpoint describes them."""

from polyhost.emulator.api.control_plane.async_configs import describe_async
from polyhost.emulator.api.control_plane.capture_configs import describe_capture
from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.api.control_plane.serverless_rules import serverless_config
from polyhost.emulator.api.control_plane.store import Resource
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.hosting.deployment.rollout import Rollout
from polyhost.emulator.hosting.deployment.stages import DeploymentStage
from polyhost.emulator.hosting.endpoint import Endpoint, EndpointStatus
from polyhost.emulator.hosting.interfaces import VariantSpec
from polyhost.emulator.hosting.variants import Variant

_VARIANT_STATUSES = {
    DeploymentStage.CREATING: "Creating",
    DeploymentStage.SHIFTING: "ActivatingTraffic",
    DeploymentStage.BAKING: "Baking",
    DeploymentStage.WAITING: "Baking",
    DeploymentStage.ROLLING_BACK: "Deleting",
}


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
        "DataCaptureConfig": describe_capture(_capture(endpoint), endpoint.serving),
        "AsyncInferenceConfig": describe_async(endpoint.async_settings),
        "PendingDeploymentSummary": _pending_deployment(endpoint),
        "LastDeploymentConfig": resource.changes.get("DeploymentConfig"),
    }


def _capture(endpoint: Endpoint) -> CaptureSettings | None:
    deployed = endpoint.deployment.specs if endpoint.deployment is not None else ()
    specs = [variant.spec for variant in endpoint.variants] or deployed
    return specs[0].capture if specs else None


def _variants(endpoint: Endpoint, shadow: bool) -> list[Members]:
    deployment = endpoint.deployment
    if endpoint.status is EndpointStatus.CREATING and deployment is not None:
        return [_pending_variant(spec, deployment.since) for spec in deployment.specs if spec.shadow is shadow]
    share = endpoint.generations.all[0].share if endpoint.generations.all else 1.0
    return [_variant(variant, share) for variant in endpoint.variants if variant.spec.shadow is shadow]


def _variant(variant: Variant, share: float) -> Members:
    """Describe a variant of a fleet that has a share of the traffic."""
    images = zip(variant.spec.containers, variant.digests, strict=True)
    return {
        "VariantName": variant.name,
        "DeployedImages": [_deployed_image(container.image, digest, variant.started) for container, digest in images],
        "CurrentWeight": round(variant.weight * share, 6),
        "DesiredWeight": variant.desired_weight,
        **_capacity(variant),
    }


def _capacity(variant: Variant) -> Members:
    """Return the members for instances, or those for a serverless variant."""
    current, desired = variant.capacity, variant.desired_capacity
    if current is None or desired is None:
        return {"CurrentInstanceCount": variant.fleet.instance_count, "DesiredInstanceCount": variant.desired_count}
    configs = {"CurrentServerlessConfig": serverless_config(current)}
    return configs | ({"DesiredServerlessConfig": serverless_config(desired)} if desired != current else {})


def _deployed_image(image: str, digest: str, since: float) -> Members:
    resolved = f"{image.partition('@')[0]}@{digest}" if digest.startswith("sha256:") else image
    return {"SpecifiedImage": image, "ResolvedImage": resolved, "ResolutionTime": since}


def _pending_variant(spec: VariantSpec, since: float) -> Members:
    return {
        "VariantName": spec.name,
        "CurrentWeight": 0.0,
        "DesiredWeight": spec.weight,
        **_pending_capacity(spec),
        "VariantStatus": [{"Status": "Creating", "StartTime": since}],
    }


def _pending_capacity(spec: VariantSpec) -> Members:
    if spec.serverless is not None:
        return {"DesiredServerlessConfig": serverless_config(spec.serverless)}
    return {"CurrentInstanceCount": 0, "DesiredInstanceCount": spec.instance_count}


def _pending_deployment(endpoint: Endpoint) -> Members | None:
    deployment, rollout = endpoint.deployment, endpoint.rollout
    if endpoint.status not in (EndpointStatus.UPDATING, EndpointStatus.ROLLING_BACK) or deployment is None:
        return None
    production, shadows = (
        [
            _deployed_variant(spec, deployment.since, rollout) | {"InstanceType": spec.instance_type or None}
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


def _deployed_variant(spec: VariantSpec, since: float, rollout: Rollout | None) -> Members:
    """Describe a variant of the new fleet, which there may be yet, or not any more."""
    if rollout is None or rollout.new is None:
        return _pending_variant(spec, since)
    variant = next(variant for variant in rollout.new.variants if variant.name == spec.name)
    status = {
        "Status": _VARIANT_STATUSES.get(rollout.stage, "Updating"),
        "StatusMessage": f"{rollout.share:.0%} of the traffic",
        "StartTime": rollout.stage_since,
    }
    return _variant(variant, rollout.share) | {"VariantStatus": [status]}
