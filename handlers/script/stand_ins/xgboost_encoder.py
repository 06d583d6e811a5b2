"""In place of `sagemaker_xgboost_container.encoder`; xgboost itself has to be in the image."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import numpy

from polyhost.handlers.body.media_types import CSV as _CSV
from polyhost.handlers.body.media_types import MediaType as _MediaType
from polyhost.handlers.script.stand_ins.errors import UnsupportedFormatError


def csv_to_dmatrix(input: str | bytes, dtype: Any = None) -> Any:
    """Return rows of numbers; an empty cell is NaN."""
    text = input.decode() if isinstance(input, bytes | bytearray) else input
    rows = [[cell.strip() or "nan" for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    return _xgboost().DMatrix(numpy.array(rows, dtype=dtype or numpy.float32))


def libsvm_to_dmatrix(string_like: str | bytes) -> Any:
    """Return rows of `label index:value ...`; the label may be left out."""
    from scipy.sparse import csr_matrix

    text = string_like.decode() if isinstance(string_like, bytes | bytearray) else string_like
    rows = [[cell.partition(":") for cell in line.split() if ":" in cell] for line in text.splitlines() if line.strip()]
    cells = [(number, int(index), float(value)) for number, row in enumerate(rows) for index, _, value in row]
    width = max((index for _, index, _ in cells), default=-1) + 1
    numbers, indices, values = zip(*cells, strict=True) if cells else ((), (), ())
    return _xgboost().DMatrix(csr_matrix((values, (numbers, indices)), shape=(len(rows), width)))


_DECODERS: dict[str, Callable[[Any], Any]] = {
    _CSV: csv_to_dmatrix,
    "text/libsvm": libsvm_to_dmatrix,
    "text/x-libsvm": libsvm_to_dmatrix,
}


def decode(obj: Any, content_type: str) -> Any:
    """Return the DMatrix that a body holds. Raises UnsupportedFormatError."""
    decoder = _DECODERS.get(_MediaType.parse(content_type).name)
    if decoder is None:
        raise UnsupportedFormatError(content_type)
    return decoder(obj)


def json_to_jsonlines(json_data: Any) -> bytes:
    """Return one line for each entry of the one list that an object has."""
    (entries,) = (json_data if isinstance(json_data, dict) else json.loads(json_data)).values()
    return "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()


def _xgboost() -> Any:
    import xgboost  # type: ignore[import-not-found, unused-ignore]

    return xgboost
