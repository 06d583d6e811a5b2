"""What CloudWatch has measured of an endpoint's variants."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from polyhost.comparison.errors import ComparisonError

_NAMESPACE = "AWS/SageMaker"
_MAX_DATAPOINTS = 1440  # of one GetMetricStatistics (CloudWatch API reference)


@dataclass(frozen=True)
class MeasuredVariant:
    """Calls of a variant, those that failed in its container, and the mean latency of each period with calls."""

    name: str
    calls: int
    errors: int
    latencies_ms: tuple[float, ...]

    @property
    def error_rate(self) -> float:
        return self.errors / self.calls


@dataclass(frozen=True)
class Span:
    """A time, and the seconds of CloudWatch's periods in it."""

    start: datetime
    end: datetime
    period_s: int

    def parts(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield the times that one request can have."""
        step, start = timedelta(seconds=self.period_s * _MAX_DATAPOINTS), self.start
        while start < self.end:
            yield start, min(start + step, self.end)
            start += step


@dataclass(frozen=True)
class DescribedEndpoint:
    """An endpoint's variants, and where its captures go."""

    name: str
    variants: tuple[str, ...]
    captures: str | None


def describe_endpoint(session: Any, name: str) -> DescribedEndpoint:
    """Describe an endpoint with at least two variants. Raises ComparisonError."""
    sagemaker = session.client("sagemaker")
    try:
        described = sagemaker.describe_endpoint(EndpointName=name)
    except sagemaker.exceptions.ClientError as error:
        raise ComparisonError(f"cannot describe endpoint {name}: {error}") from error
    found = [*described.get("ProductionVariants", []), *described.get("ShadowProductionVariants", [])]
    names = tuple(variant["VariantName"] for variant in found)
    if len(names) < 2:
        raise ComparisonError(
            f"endpoint {name} has {'one variant, ' + names[0] if names else 'no variant'}; two are needed: give it"
            " a second production variant, or a shadow variant"
        )
    captures = described.get("DataCaptureConfig", {}).get("DestinationS3Uri")
    return DescribedEndpoint(name, names, captures)


def measure(session: Any, endpoint: str, variants: Sequence[str], span: Span) -> list[MeasuredVariant]:
    """Read what CloudWatch has of each variant."""
    cloudwatch = session.client("cloudwatch")
    return [_measure(cloudwatch, endpoint, variant, span) for variant in variants]


def _measure(cloudwatch: Any, endpoint: str, variant: str, span: Span) -> MeasuredVariant:
    def read(metric: str) -> list[Any]:
        dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
        points: list[Any] = []
        for start, end in span.parts():
            found = cloudwatch.get_metric_statistics(
                Namespace=_NAMESPACE,
                MetricName=metric,
                Dimensions=dimensions,
                StartTime=start,
                EndTime=end,
                Period=span.period_s,
                Statistics=["Sum", "SampleCount"],
            )
            points += found["Datapoints"]
        return points

    latencies = [point["Sum"] / point["SampleCount"] / 1000 for point in read("ModelLatency") if point["SampleCount"]]
    return MeasuredVariant(
        name=variant,
        calls=round(sum(point["Sum"] for point in read("Invocations"))),
        errors=round(sum(point["Sum"] for point in read("InvocationModelErrors"))),
        latencies_ms=tuple(latencies),
    )
