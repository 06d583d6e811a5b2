"""What a monitoring job analyses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class MonitoringType(StrEnum):
    """Types of monitoring (botocore, MonitoringType), as far as the emulator runs them."""

    DATA_QUALITY = "DataQuality"
    MODEL_QUALITY = "ModelQuality"


class MonitoringExecutionStatus(StrEnum):
    """States of an execution (botocore, ExecutionStatus), as far as the emulator has them."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    COMPLETED_WITH_VIOLATIONS = "CompletedWithViolations"
    FAILED = "Failed"
    STOPPED = "Stopped"


@dataclass(frozen=True)
class MonitorSpec:
    """A monitoring job. Addresses are those of S3.

    Data quality has `statistics`; model quality has `ground_truth`, a prefix, and the kind of `problem`.
    `start_offset_s` and `end_offset_s` move the analysed time relative to the time of the execution. The attributes
    choose a part of the bodies. `job` has what clients are told of each execution and nothing here needs: members of
    DescribeProcessingJob.
    """

    type: MonitoringType
    endpoint: str
    output: str
    constraints: str
    statistics: str | None = None
    ground_truth: str | None = None
    problem: str | None = None
    kms_key_id: str | None = None
    start_offset_s: float | None = None
    end_offset_s: float | None = None
    features: str | None = None
    inference: str | None = None
    emits_metrics: bool = True
    job: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """The time whose invocations are analysed, without its end; seconds since 1970."""

    start: float
    end: float
