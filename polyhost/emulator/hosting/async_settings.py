"""Asynchronous inference, as an endpoint's configuration describes it (botocore, AsyncInferenceConfig)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# botocore: "If no value is provided, SageMaker chooses an optimal value." The developer guide's example has 4.
DEFAULT_CONCURRENCY = 4


class ResponseTopic(StrEnum):
    """Topics whose notifications include the response (botocore, AsyncNotificationTopicTypes)."""

    SUCCESS = "SUCCESS_NOTIFICATION_TOPIC"
    ERROR = "ERROR_NOTIFICATION_TOPIC"


@dataclass(frozen=True)
class AsyncSettings:
    """Where responses and notifications go. Paths are prefixes in S3, topics are ARNs of SNS.

    `max_concurrent` is the number of invocations that an instance gets at a time; None stands for a default.
    """

    output_path: str | None = None
    failure_path: str | None = None
    kms_key_id: str | None = None
    success_topic: str | None = None
    error_topic: str | None = None
    include_response_in: tuple[str, ...] = ()
    max_concurrent: int | None = None

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "AsyncSettings":
        """Return saved settings. Raises KeyError or TypeError if members are missing or unknown."""
        return cls(**{**saved, "include_response_in": tuple(saved["include_response_in"])})

    @property
    def concurrency(self) -> int:
        """How many invocations an instance gets at a time."""
        return self.max_concurrent or DEFAULT_CONCURRENCY

    @property
    def topics(self) -> list[str]:
        """The topics of notifications, each once."""
        return list(dict.fromkeys(filter(None, (self.success_topic, self.error_topic))))
