"""DataCaptureConfig: translated for hosting, checked, and described."""

from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.model_cache.model_url import ModelData

_BOTH = "InputAndOutput"


def capture_settings(config: Members) -> CaptureSettings | None:
    """Translate a CreateEndpointConfig request; None without DataCaptureConfig. Raises ValidationException."""
    members = config.get("DataCaptureConfig")
    if not members:
        return None
    modes = {option["CaptureMode"] for option in members["CaptureOptions"]}
    types = members.get("CaptureContentTypeHeader") or {}
    csv_types, json_types = (_types(types.get(name)) for name in ("CsvContentTypes", "JsonContentTypes"))
    if both := sorted(set(csv_types) & set(json_types)):
        raise ValidationException(
            f"CaptureContentTypeHeader has {', '.join(both)} in CsvContentTypes and in JsonContentTypes; leave it out"
            " of one of them."
        )
    return CaptureSettings(
        destination=_destination(members["DestinationS3Uri"]),
        sampling_percent=members["InitialSamplingPercentage"],
        enabled=captures(config),
        captures_input=bool(modes & {"Input", _BOTH}),
        captures_output=bool(modes & {"Output", _BOTH}),
        csv_types=csv_types,
        json_types=json_types,
        kms_key_id=members.get("KmsKeyId") or None,
    )


def captures(config: Members) -> bool:
    """Return whether a CreateEndpointConfig request enables data capture; EnableCapture defaults to true (botocore)."""
    members = config.get("DataCaptureConfig")
    return members is not None and members.get("EnableCapture") is not False


def describe_capture(settings: CaptureSettings | None, serving: bool) -> Members | None:
    """Return settings as DescribeEndpoint's DataCaptureConfig has them."""
    if settings is None:
        return None
    return {
        "EnableCapture": settings.enabled,
        "CaptureStatus": "Started" if settings.enabled and serving else "Stopped",
        "CurrentSamplingPercentage": settings.sampling_percent,
        "DestinationS3Uri": settings.destination,
        "KmsKeyId": settings.kms_key_id or "",
    }


def _types(given: list[str] | None) -> tuple[str, ...]:
    return tuple(item.lower() for item in given or [])


def _destination(uri: str) -> str:
    try:
        bucket = ModelData.parse(uri).bucket
    except ValueError:
        bucket = None
    if bucket is None:
        raise ValidationException(
            f"DestinationS3Uri {uri!r} is not an address in S3; use s3://BUCKET/PREFIX or"
            " https://s3-REGION.amazonaws.com/BUCKET/PREFIX."
        )
    return uri
