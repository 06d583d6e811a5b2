"""How many values a body in text may hold: each takes up to two hundred bytes, whatever it took in the body."""

from collections.abc import Iterable, Iterator
from typing import NoReturn

from polyhost.handlers.errors import TooManyValuesError

MAX_VALUES = 5_000_000


def check_json(text: str, separators: str = ",[{") -> None:
    """Raise TooManyValuesError for more values than MAX_VALUES, before they are parsed. Lists and objects count too.

    Each value but the first stands behind one of the separators. A body that is not JSON is counted up to where
    the parser will stop, at least.
    """
    if len(text) <= MAX_VALUES or _count(text, separators) <= MAX_VALUES:
        return
    if '"' in text:  # a separator inside a string does not count; a quote behind a backslash does not end one
        text = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    if _count(text, separators) > MAX_VALUES:
        _reject("JSON")


def check_csv(text: str, separators: str = ",\n") -> None:
    """Raise TooManyValuesError for more cells than MAX_VALUES, before they are parsed, where that can be seen."""
    if len(text) > MAX_VALUES and '"' not in text and _count(text, separators) > MAX_VALUES:
        _reject("CSV")


def bounded(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yield the rows of a CSV body. Raises TooManyValuesError where there are more than MAX_VALUES cells."""
    count = 0
    for row in rows:
        count += len(row)
        if count > MAX_VALUES:
            _reject("CSV")
        yield row


def check_count(count: int) -> None:
    """Raise TooManyValuesError for more values than MAX_VALUES, which a sparse body claims."""
    if count > MAX_VALUES:
        _reject("JSON")


def _count(text: str, separators: str) -> int:
    return sum(map(text.count, separators))


def _reject(form: str) -> NoReturn:
    raise TooManyValuesError(
        f"the body holds more than {MAX_VALUES} values, the limit of {form}; send fewer rows, or an array as "
        "application/x-npy, which has no such limit"
    )
