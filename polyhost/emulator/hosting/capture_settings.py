"""Data capture, as an endpoint's configuration describes it (botocore, DataCaptureConfig)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CaptureSettings:
    """What of an endpoint's invocations is captured, and where it goes.

    `destination` is a prefix in S3. What has one of `csv_types` or `json_types` is written as text, everything else in
    base64.
    """

    destination: str
    sampling_percent: int
    enabled: bool = True
    captures_input: bool = True
    captures_output: bool = True
    csv_types: tuple[str, ...] = ()
    json_types: tuple[str, ...] = ()
    kms_key_id: str | None = None

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "CaptureSettings":
        """Return saved settings. Raises KeyError or TypeError if members are missing or unknown."""
        types = {name: tuple(saved[name]) for name in ("csv_types", "json_types")}
        return cls(**{**saved, **types})
