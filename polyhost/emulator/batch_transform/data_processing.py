"""Records filtered, joined with the model's responses, and filtered again (developer guide)."""

import csv
import io
import json
from typing import Any

from polyhost.emulator.batch_transform.failures import FailureKind, TransformError
from polyhost.emulator.batch_transform.json_paths import JsonPath
from polyhost.emulator.batch_transform.spec import Format, ProcessingSpec

_INPUT, _OUTPUT = "SageMakerInput", "SageMakerOutput"
# Of responses that say what they are.
_MEDIA_TYPES = {
    "text/csv": Format.CSV,
    "application/json": Format.JSON,
    "application/jsonlines": Format.JSON_LINES,
}


class DataProcessing:
    """Filters and joins records of one format. Raises TransformError for a path that is not supported."""

    def __init__(self, spec: ProcessingSpec, record_format: Format, by_line: bool) -> None:
        self._format = record_format
        self._by_line = by_line or record_format is not Format.JSON
        self._join = spec.join
        self._input_filter = JsonPath(spec.input_filter)
        self._output_filter = JsonPath(spec.output_filter)
        for path in (self._input_filter, self._output_filter):
            if record_format is Format.CSV and path.has_names:
                raise TransformError(
                    FailureKind.CLIENT, f"Invalid JsonPath: {path.text}: records of text/csv have indexes, but no names"
                )

    @property
    def filters_input(self) -> bool:
        return not self._input_filter.is_root

    @property
    def changes_output(self) -> bool:
        return self._join or not self._output_filter.is_root

    def prepare(self, data: bytes) -> bytes:
        """Return what of a record, or of each line of it, goes to the model."""
        return b"\n".join(self._encode(self._input_filter.select(self._decode(part))) for part in self._parts(data))

    def combine(self, originals: list[bytes], response: bytes, content_type: str | None) -> bytes:
        """Return what of the records and the response to them goes to the output."""
        self._check_content_type(content_type)
        inputs = [part for data in originals for part in self._parts(data)]
        outputs = self._parts(response)
        if len(inputs) != len(outputs):
            raise TransformError(
                FailureKind.ALGORITHM,
                f"the model responded with {len(outputs)} records to {len(inputs)}; it must respond with one line to"
                " each, or set BatchStrategy to SingleRecord",
            )
        pairs = zip(inputs, outputs, strict=True)
        return b"\n".join(self._encode(self._output_filter.select(self._joined(*pair))) for pair in pairs)

    def _joined(self, original: bytes, response: bytes) -> Any:
        output = self._decode(response)
        if not self._join:
            return output
        record = self._decode(original)
        if self._format is Format.CSV:
            return record + output
        return record | {_OUTPUT: output} if isinstance(record, dict) else {_INPUT: record, _OUTPUT: output}

    def _parts(self, data: bytes) -> list[bytes]:
        if not self._by_line:
            return [data]
        data = data.removesuffix(b"\n")
        return data.split(b"\n") if data else []

    def _decode(self, data: bytes) -> Any:
        try:
            text = data.decode()
            if self._format is not Format.CSV:
                return json.loads(text)
            (row,) = csv.reader([text.removesuffix("\r")], strict=True) if text else [[]]
            return row
        except (ValueError, csv.Error, RecursionError) as error:
            raise TransformError(
                FailureKind.CLIENT, f"Unable to parse data as {self._format}: {error}: {data[:80]!r}"
            ) from None

    def _encode(self, value: Any) -> bytes:
        if self._format is not Format.CSV:
            return json.dumps(value, ensure_ascii=False).encode()
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(value if isinstance(value, list) else [value])
        return text.getvalue().encode()

    def _check_content_type(self, content_type: str | None) -> None:
        """Raise TransformError for a response of another format, which would be joined as if it were the right one."""
        found = _MEDIA_TYPES.get((content_type or "").partition(";")[0].strip().lower())
        csv_expected = self._format is Format.CSV
        if found is not None and (found is Format.CSV) != csv_expected:
            raise TransformError(
                FailureKind.ALGORITHM,
                f"the model responded with {content_type} where Accept is {self._format}; they must be the same to be"
                " filtered or joined",
            )
