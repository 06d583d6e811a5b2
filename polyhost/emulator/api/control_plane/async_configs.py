"""AsyncInferenceConfig: translated for hosting, checked, and described."""

from collections.abc import Sequence

from polyhost.emulator.api.control_plane.capture_configs import captures
from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.async_settings import AsyncSettings
from polyhost.emulator.hosting.interfaces import VariantSpec
from polyhost.model_cache.model_url import ModelData


def async_settings(config: Members) -> AsyncSettings | None:
    """Translate a CreateEndpointConfig request; None without AsyncInferenceConfig. Raises ValidationException."""
    members = config.get("AsyncInferenceConfig")
    if not members:
        return None
    output = members["OutputConfig"]
    for name in ("S3OutputPath", "S3FailurePath"):
        if output.get(name):
            _check_path(name, output[name])
    notifications = output.get("NotificationConfig") or {}
    return AsyncSettings(
        output_path=output.get("S3OutputPath") or None,
        failure_path=output.get("S3FailurePath") or None,
        kms_key_id=output.get("KmsKeyId") or None,
        success_topic=notifications.get("SuccessTopic") or None,
        error_topic=notifications.get("ErrorTopic") or None,
        include_response_in=tuple(notifications.get("IncludeInferenceResponseIn") or ()),
        max_concurrent=(members.get("ClientConfig") or {}).get("MaxConcurrentInvocationsPerInstance"),
    )


def check_async(config: Members, specs: Sequence[VariantSpec]) -> None:
    """Raise ValidationException for what does not go with AsyncInferenceConfig (developer guide, "Supported features").

    The first sentence is AWS's (boto3, issue 4275).
    """
    for condition, reason in (
        (bool(config.get("ShadowProductionVariants")), "ShadowProductionVariants"),
        (len(config["ProductionVariants"]) > 1, "more than one production variant"),
        (captures(config), "DataCaptureConfig"),
        (any(len(spec.containers) > 1 for spec in specs), "a model of several containers"),
        (any(container.multi_model for spec in specs for container in spec.containers), "a MultiModel container"),
    ):
        if condition:
            raise ValidationException(
                "One or more endpoint features are not supported using this configuration. AsyncInferenceConfig does"
                f" not go with {reason}; leave one of them out."
            )


def describe_async(settings: AsyncSettings | None) -> Members | None:
    """Return settings as AsyncInferenceConfig has them; members without a value are None."""
    if settings is None:
        return None
    notifications = {
        "SuccessTopic": settings.success_topic,
        "ErrorTopic": settings.error_topic,
        "IncludeInferenceResponseIn": list(settings.include_response_in) or None,
    }
    output = {
        "S3OutputPath": settings.output_path,
        "S3FailurePath": settings.failure_path,
        "KmsKeyId": settings.kms_key_id,
        "NotificationConfig": notifications if any(notifications.values()) else None,
    }
    client = {"MaxConcurrentInvocationsPerInstance": settings.max_concurrent}
    return {"OutputConfig": output, "ClientConfig": client if settings.max_concurrent else None}


def _check_path(name: str, path: str) -> None:
    try:
        ModelData.parse(path)
    except ValueError:
        raise ValidationException(
            f"{name} {path!r} is no address in S3; use s3://BUCKET/PREFIX or"
            " https://s3-REGION.amazonaws.com/BUCKET/PREFIX."
        ) from None
