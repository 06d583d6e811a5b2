"""Transform jobs for hosting, made of CreateTransformJob requests and the models that they name."""

from dataclasses import replace

from polyhost.emulator.api.control_plane.container_specs import container_specs, execution
from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.api.control_plane.variant_specs import STARTUP_TIMEOUT_S, check_instance_type
from polyhost.emulator.batch_transform.spec import (
    BatchStrategy,
    ClientSpec,
    DataType,
    Format,
    InputSpec,
    OutputSpec,
    ProcessingSpec,
    Requested,
    SplitType,
    TransformSpec,
)
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.interfaces import Execution, VariantSpec
from polyhost.instance_types import DEFAULT_VOLUME_BYTES
from polyhost.model_cache.model_url import ModelData

_MAX_PAYLOAD_MB = 100  # botocore, MaxPayloadInMB: of one request, and of all that are sent at the same time
_DEFAULT_PAYLOAD_MB = 6
_MAX_INSTANCES = 100
_STRATEGIES = {"SingleRecord": BatchStrategy.SINGLE_RECORD, "MultiRecord": BatchStrategy.MULTI_RECORD}


def transform_spec(job: Members) -> TransformSpec:
    """Translate a CreateTransformJob request. Raises ValidationException for what SageMaker does not do."""
    if job.get("DataCaptureConfig"):
        raise ValidationException(
            "The emulator does not support DataCaptureConfig; leave it out of CreateTransformJob."
        )
    spec = TransformSpec(_input(job), _output(job), _requested(job), _client(job), _processing(job))
    _check_payload(spec.requested)
    if spec.processing.needed:
        _check_processing(spec)
    return spec


def hosting_spec(job: Members, model: Members) -> VariantSpec:
    """Return what the job's instances run. Raises ValidationException for models without batch transform."""
    resources, name = job["TransformResources"], job["ModelName"]
    check_instance_type(f"Transform job {job['TransformJobName']}", resources["InstanceType"])
    if resources["InstanceCount"] > _MAX_INSTANCES:
        raise ValidationException(
            f"InstanceCount {resources['InstanceCount']} is too many; a transform job has {_MAX_INSTANCES} at most."
        )
    containers = container_specs(model)
    if execution(model) is Execution.DIRECT:
        raise ValidationException(f"Model {name} of Mode Direct cannot be used in a transform job; use Mode Serial.")
    if any(container.multi_model for container in containers):
        raise ValidationException(f"Multi-model container of model {name} is not supported for batch transform.")
    environment = _environment(job)
    return VariantSpec(
        name="",
        containers=tuple(
            replace(container, environment=dict(container.environment) | environment) for container in containers
        ),
        instance_type=resources["InstanceType"],
        instance_count=resources["InstanceCount"],
        weight=1.0,
        volume_bytes=DEFAULT_VOLUME_BYTES,
        startup_timeout_s=STARTUP_TIMEOUT_S,
    )


def _environment(job: Members) -> dict[str, str]:
    """Return the job's own variables and those that SageMaker sets (developer guide, your-algorithms-batch-code)."""
    known = {
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": job.get("MaxPayloadInMB"),
        "SAGEMAKER_BATCH_STRATEGY": _STRATEGIES.get(job.get("BatchStrategy") or ""),
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": job.get("MaxConcurrentTransforms") or None,
    }
    given = {name: str(value) for name, value in known.items() if value is not None}
    return {**(job.get("Environment") or {}), **given, "SAGEMAKER_BATCH": "true"}


def _input(job: Members) -> InputSpec:
    members = job["TransformInput"]
    source = members["DataSource"]["S3DataSource"]
    if source["S3DataType"] not in list(DataType):
        raise ValidationException(
            f"S3DataType {source['S3DataType']} is not supported in a transform job; use S3Prefix or ManifestFile."
        )
    return InputSpec(
        DataType(source["S3DataType"]),
        _s3_uri(source["S3Uri"], "TransformInput"),
        members.get("ContentType") or None,
        members.get("CompressionType") == "Gzip",
        SplitType(members.get("SplitType") or SplitType.NONE),
    )


def _output(job: Members) -> OutputSpec:
    members = job["TransformOutput"]
    path = _s3_uri(members["S3OutputPath"], "TransformOutput")
    lines = members.get("AssembleWith") == "Line"
    return OutputSpec(path, members.get("Accept") or None, lines, members.get("KmsKeyId") or None)


def _s3_uri(uri: str, member: str) -> str:
    """Return an address as s3://BUCKET/KEY."""
    try:
        found = ModelData.parse(uri)
    except ValueError:
        found = ModelData(None, "")
    if found.bucket is None:
        raise ValidationException(
            f"{member} has no address of S3: {uri!r}; use s3://BUCKET/KEY or https://s3-REGION.amazonaws.com/BUCKET/KEY."
        )
    return str(found)


def _requested(job: Members) -> Requested:
    strategy = job.get("BatchStrategy")
    return Requested(
        job.get("MaxConcurrentTransforms") or None,
        job.get("MaxPayloadInMB"),
        _STRATEGIES[strategy] if strategy else None,
    )


def _client(job: Members) -> ClientSpec:
    members = job.get("ModelClientConfig") or {}
    retries = members.get("InvocationsMaxRetries")
    default = ClientSpec()
    timeout_s = members.get("InvocationsTimeoutInSeconds") or default.timeout_s
    return ClientSpec(float(timeout_s), default.retries if retries is None else retries)


def _processing(job: Members) -> ProcessingSpec:
    members = job.get("DataProcessing") or {}
    return ProcessingSpec(
        members.get("InputFilter") or "$", members.get("OutputFilter") or "$", members.get("JoinSource") == "Input"
    )


def _check_payload(requested: Requested) -> None:
    payload_mb = _DEFAULT_PAYLOAD_MB if requested.payload_mb is None else requested.payload_mb
    if payload_mb > _MAX_PAYLOAD_MB:
        raise ValidationException(f"MaxPayloadInMB {payload_mb} is too large; it must not exceed {_MAX_PAYLOAD_MB}.")
    if (requested.concurrency or 1) * payload_mb > _MAX_PAYLOAD_MB:
        raise ValidationException(
            f"MaxConcurrentTransforms {requested.concurrency} * MaxPayloadInMB {payload_mb} must not exceed"
            f" {_MAX_PAYLOAD_MB}."
        )


def _check_processing(spec: TransformSpec) -> None:
    """Raise ValidationException if the formats do not allow DataProcessing (batch-transform-data-processing)."""
    formats = ", ".join(Format)
    content_type, accept = (_media_type(value) for value in (spec.input.content_type, spec.output.accept))
    if content_type not in list(Format):
        raise ValidationException(f"DataProcessing needs a ContentType of {formats}, but got {content_type or 'none'}.")
    by_line = spec.input.split is SplitType.LINE
    if content_type == Format.CSV and not by_line:
        raise ValidationException("DataProcessing of text/csv needs a SplitType of Line.")
    if not by_line and spec.input.split is not SplitType.NONE:
        raise ValidationException(f"DataProcessing needs a SplitType of Line or None, but got {spec.input.split}.")
    if not spec.processing.join and spec.processing.output_filter == "$":
        return
    if accept != content_type:
        raise ValidationException(
            f"JoinSource and OutputFilter need an Accept like ContentType, {content_type}, but got {accept or 'none'}."
        )
    if spec.output.lines is not by_line:
        raise ValidationException(
            f"JoinSource and OutputFilter need an AssembleWith like SplitType, {spec.input.split}, but got"
            f" {'Line' if spec.output.lines else 'None'}."
        )


def _media_type(value: str | None) -> str:
    return (value or "").partition(";")[0].strip().lower()
