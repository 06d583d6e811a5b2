"""Monitoring jobs, made of job definitions and of MonitoringJobDefinition in a schedule."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.monitoring.spec import MonitoringType, MonitorSpec
from polyhost.emulator.monitoring.timetable import offset_s

ANALYZER = "sagemaker-model-monitor-analyzer"
_UNSUPPORTED_APP = (
    *("ContainerEntrypoint", "ContainerArguments"),
    *("RecordPreprocessorSourceUri", "PostAnalyticsProcessorSourceUri"),
)
_STATISTICS, _CONSTRAINTS = "statistics.json", "constraints.json"


def spec_of_definition(request: Members, kind: MonitoringType) -> MonitorSpec:
    """Translate a CreateDataQualityJobDefinition or CreateModelQualityJobDefinition request.

    Raises ValidationException.
    """
    app, baseline = request[f"{kind}AppSpecification"], request.get(f"{kind}BaselineConfig") or {}
    source, output = request[f"{kind}JobInput"], request[f"{kind}JobOutputConfig"]
    spec = _spec(app, source, baseline, output, app.get("Environment") or {})
    spec = replace(spec, job=_job(request, app, request["JobResources"]))
    if kind is MonitoringType.DATA_QUALITY:
        return replace(spec, statistics=_baseline_file(baseline, "StatisticsResource", _STATISTICS))
    truth, problem = source["GroundTruthS3Input"].get("S3Uri"), app.get("ProblemType")
    if not truth or not problem:
        missing = "S3Uri of GroundTruthS3Input" if not truth else "ProblemType of ModelQualityAppSpecification"
        raise ValidationException(f"The monitoring job has no {missing}; give it.")
    return replace(spec, type=kind, ground_truth=truth, problem=problem)


def spec_of_inline_definition(request: Members) -> MonitorSpec:
    """Translate MonitoringJobDefinition of CreateMonitoringSchedule. Raises ValidationException."""
    baseline = request.get("BaselineConfig") or {}
    spec = _spec(
        request["MonitoringAppSpecification"],
        request["MonitoringInputs"][0],
        baseline,
        request["MonitoringOutputConfig"],
        request.get("Environment") or {},
    )
    job = _job(request, request["MonitoringAppSpecification"], request["MonitoringResources"])
    return replace(spec, job=job, statistics=_baseline_file(baseline, "StatisticsResource", _STATISTICS))


def check_image(image: str) -> None:
    """Raise ValidationException for an image in whose place the emulator has nothing to run."""
    if ANALYZER not in image:
        raise ValidationException(
            f"The emulator does not run the image {image}: it has a monitor of its own in place of {ANALYZER}, and no"
            " other processing jobs. Give that image."
        )


def _spec(
    app: Members, source: Members, baseline: Members, output: Members, environment: Mapping[str, str]
) -> MonitorSpec:
    check_image(app["ImageUri"])
    if given := [name for name in _UNSUPPORTED_APP if app.get(name)]:
        raise ValidationException(
            f"The emulator does not support {', '.join(given)} of a monitoring job; leave it out."
        )
    endpoint = source.get("EndpointInput")
    if endpoint is None or source.get("BatchTransformInput"):
        raise ValidationException(
            "The emulator monitors endpoints only; give EndpointInput, and leave out BatchTransformInput."
        )
    for name in ("ExcludeFeaturesAttribute", "ProbabilityAttribute", "ProbabilityThresholdAttribute"):
        if endpoint.get(name):
            raise ValidationException(f"The emulator does not support {name} of EndpointInput; leave it out.")
    return MonitorSpec(
        type=MonitoringType.DATA_QUALITY,
        endpoint=endpoint["EndpointName"],
        output=output["MonitoringOutputs"][0]["S3Output"]["S3Uri"],
        constraints=_baseline_file(baseline, "ConstraintsResource", _CONSTRAINTS),
        kms_key_id=output.get("KmsKeyId") or None,
        start_offset_s=_offset(endpoint, "StartTimeOffset"),
        end_offset_s=_offset(endpoint, "EndTimeOffset"),
        features=endpoint.get("FeaturesAttribute") or None,
        inference=endpoint.get("InferenceAttribute") or None,
        emits_metrics=environment.get("publish_cloudwatch_metrics") != "Disabled",
    )


def _job(request: Members, app: Members, resources: Members) -> Members:
    """Return what DescribeProcessingJob tells of each execution."""
    cluster = {"ClusterConfig": resources["ClusterConfig"]}
    return {
        "AppSpecification": {"ImageUri": app["ImageUri"]},
        "ProcessingResources": cluster,
        "RoleArn": request["RoleArn"],
    }


def _baseline_file(baseline: Members, member: str, file: str) -> str:
    """Return the address of a file of the baseline: the member may be a folder, as the SDK allows it."""
    uri: str = (baseline.get(member) or {}).get("S3Uri") or ""
    if not uri:
        raise ValidationException(
            f"The monitoring job has no {member}; give the address of {file}, which a baselining job writes."
        )
    return uri if uri.endswith(".json") else f"{uri.rstrip('/')}/{file}"


def _offset(endpoint: Members, member: str) -> float | None:
    text = endpoint.get(member)
    return None if not text else offset_member(member, text)


def offset_member(member: str, text: Any) -> float:
    """Return a member's offset in seconds. Raises ValidationException."""
    try:
        return offset_s(text)
    except ValueError as error:
        raise ValidationException(f"{member} {text!r} is invalid: {error}.") from None
