"""What a transform job is to do; free of AWS's JSON."""

from dataclasses import dataclass
from enum import StrEnum

MB = 1 << 20


class DataType(StrEnum):
    """What the input's address names (botocore, S3DataType)."""

    PREFIX = "S3Prefix"
    MANIFEST = "ManifestFile"


class SplitType(StrEnum):
    """How an object is split into records (botocore, SplitType)."""

    NONE = "None"
    LINE = "Line"
    RECORD_IO = "RecordIO"
    TF_RECORD = "TFRecord"


class BatchStrategy(StrEnum):
    """How many records a request has; the values are those of `/execution-parameters`."""

    SINGLE_RECORD = "SINGLE_RECORD"
    MULTI_RECORD = "MULTI_RECORD"


class Format(StrEnum):
    """The formats in which records can be filtered and joined."""

    CSV = "text/csv"
    JSON = "application/json"
    JSON_LINES = "application/jsonlines"


@dataclass(frozen=True)
class InputSpec:
    """Where the input is, and how it is read."""

    data_type: DataType
    uri: str
    content_type: str | None = None
    gzip: bool = False
    split: SplitType = SplitType.NONE


@dataclass(frozen=True)
class OutputSpec:
    """Where the output goes, and how it is put together; `lines` ends every response with a newline."""

    path: str
    accept: str | None = None
    lines: bool = False
    kms_key_id: str | None = None


@dataclass(frozen=True)
class Requested:
    """What the job sets of its parameters; the container is asked for those that are None."""

    concurrency: int | None = None
    payload_mb: int | None = None
    strategy: BatchStrategy | None = None


@dataclass(frozen=True)
class ClientSpec:
    """How long the container may take for a response, and how often a request is repeated."""

    timeout_s: float = 600.0
    retries: int = 3


@dataclass(frozen=True)
class ProcessingSpec:
    """What of each record goes to the model, and what of it and of the response goes to the output, as JSONPath."""

    input_filter: str = "$"
    output_filter: str = "$"
    join: bool = False

    @property
    def needed(self) -> bool:
        return self.join or self.input_filter != "$" or self.output_filter != "$"


@dataclass(frozen=True)
class TransformSpec:
    """A transform job without its model and instances."""

    input: InputSpec
    output: OutputSpec
    requested: Requested = Requested()
    client: ClientSpec = ClientSpec()
    processing: ProcessingSpec = ProcessingSpec()


@dataclass(frozen=True)
class Parameters:
    """How requests are sent. `payload_bytes` is None where there is no limit (MaxPayloadInMB of 0)."""

    concurrency: int
    payload_mb: int
    strategy: BatchStrategy

    @property
    def payload_bytes(self) -> int | None:
        return self.payload_mb * MB if self.payload_mb else None

    def __str__(self) -> str:
        return (
            f"MaxConcurrentTransforms={self.concurrency}, MaxPayloadInMB={self.payload_mb},"
            f" BatchStrategy={self.strategy}"
        )
