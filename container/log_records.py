"""The records of Python's `logging` as events: what a model's code and libraries log."""

import logging
import sys
from typing import Any

from polyhost import events
from polyhost.events import LogEvent

# What a record's `extra` may say. Not which model or request it is of: the process knows that better.
_FIELDS = ("phase", "duration_ms", "details")

logger = events.get_logger(__name__)
_reported: set[tuple[str, int]] = set()  # the log calls whose failure has been reported


class LoggingHandler(logging.Handler):
    """The root logger's handler: logs each record as an event.

    Where a model gives it a formatter, the event's message is what that makes of the record.
    """

    def __init__(self, sink: events.Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        formatter = self.formatter
        try:
            message = record.getMessage() if formatter is None else formatter.format(record)
        except Exception:
            self.handleError(record)
        else:
            error = record.exc_info[1] if record.exc_info and formatter is None else None
            self._sink(_event_of(record, message, error))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        _log_all_the_same(self, record)


def take_over(sink: events.Sink, level: int) -> None:
    """Send all records to the sink: by the root logger's only handler, which is also the one for want of others."""
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    handler = LoggingHandler(sink)
    root.addHandler(handler)
    root.setLevel(level)
    logging.lastResort = handler
    logging.captureWarnings(True)
    # These would log each HTTP request that polyhost makes.
    for chatty in ("httpx", "httpcore", "urllib3", "botocore", "boto3"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


def keep_what_handlers_lose() -> None:
    """Have the records logged with which a handler of the model's fails, as with a format that asks for a field.

    `logging` itself prints a traceback for each of them, or nothing if `logging.raiseExceptions` is False.
    """
    # An assignment to a class, of the same value too, makes Python forget what it knows of the class and its heirs.
    if logging.Handler.__dict__["handleError"] is not _log_all_the_same:
        logging.Handler.handleError = _log_all_the_same  # type: ignore[method-assign, assignment]


def _log_all_the_same(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Log the record that the handler has just failed with; say why once for each call in the code."""
    place = (record.pathname, record.lineno)
    if place not in _reported:
        _reported.add(place)
        where = f"{record.pathname}:{record.lineno}"
        logger.log(
            logging.WARNING, "%s failed with what %s logs; see the traceback", handler, where, exc_info=sys.exception()
        )
    error = record.exc_info[1] if record.exc_info else None
    events.emit(_event_of(record, _message_of(record), error))


def _event_of(record: logging.LogRecord, message: str, error: BaseException | None) -> LogEvent:
    known: dict[str, Any] = record.__dict__
    fields = {name: known[name] for name in _FIELDS if name in known}
    return LogEvent(record.levelno, record.name, message, fields, error, record.levelname, record.created)


def _message_of(record: logging.LogRecord) -> str:
    """Return the message; where the arguments do not fit, with them behind it."""
    try:
        return record.getMessage()
    except Exception:
        try:
            return f"{record.msg} {record.args}"
        except Exception:  # their own __str__
            return f"a {type(record.msg).__name__} that cannot be written"
