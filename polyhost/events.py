"""polyhost's own log events, which take a way that a model's logging settings do not reach.

Python's `logging` has one configuration per process, and in a worker that is the model's: `dictConfig` disables the
loggers that exist, `logging.disable` all of them, a handler of the model's may raise, or print what is then logged
again. So polyhost's events do not pass through `logging` there: a container says where they go (`send_to`). Elsewhere,
as in a test of a handler, they are given to the logger of the same name.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_LEVEL_NAMES = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARNING",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "CRITICAL",
}


def level_name(level: int) -> str:
    """Return the usual name of a level: a model may have renamed it with `logging.addLevelName`."""
    return _LEVEL_NAMES.get(level, f"Level {level}")


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something to be logged. `fields` say what it concerns, such as `model`."""

    level: int
    logger: str
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    exception: BaseException | None = None
    level_name: str = ""
    created: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        if not self.level_name:
            object.__setattr__(self, "level_name", level_name(self.level))


Sink = Callable[[LogEvent], None]
"""Takes events; must not raise, and must not log."""


def _give_to_logging(event: LogEvent) -> None:
    logger = logging.getLogger(event.logger)
    if logger.isEnabledFor(event.level):
        error = event.exception
        exc_info = None if error is None else (type(error), error, error.__traceback__)
        record = logger.makeRecord(
            event.logger, event.level, "", 0, event.message, (), exc_info, extra=dict(event.fields)
        )
        logger.handle(record)


_sink: Sink = _give_to_logging
_level = logging.NOTSET


def send_to(sink: Sink | None, level: int = logging.NOTSET) -> None:
    """Log to the sink from now on; None: to `logging`, as at the start. `level`: the lowest of polyhost's own."""
    global _sink, _level
    _sink, _level = sink or _give_to_logging, level


@contextmanager
def discarded() -> Iterator[None]:
    """Discard this process's own events inside the block."""
    global _sink
    sink, _sink = _sink, lambda event: None
    try:
        yield
    finally:
        _sink = sink


def current_sink() -> Sink:
    """Return what takes the events now."""
    return _sink


def is_logged(level: int) -> bool:
    """Return whether this process logs polyhost's events of this level."""
    return level >= _level


def emit(event: LogEvent) -> None:
    """Log an event, whatever its level."""
    _sink(event)


class Logger:
    """Logs polyhost's events. Its methods take what those of `logging.Logger` take."""

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, message: str, *args: Any, extra: Mapping[str, Any] | None = None) -> None:
        self.log(logging.DEBUG, message, *args, extra=extra)

    def info(self, message: str, *args: Any, extra: Mapping[str, Any] | None = None) -> None:
        self.log(logging.INFO, message, *args, extra=extra)

    def warning(self, message: str, *args: Any, extra: Mapping[str, Any] | None = None) -> None:
        self.log(logging.WARNING, message, *args, extra=extra)

    def error(
        self,
        message: str,
        *args: Any,
        exc_info: BaseException | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.log(logging.ERROR, message, *args, exc_info=exc_info, extra=extra)

    def exception(self, message: str, *args: Any, extra: Mapping[str, Any] | None = None) -> None:
        """Log an error with the exception that is being handled."""
        self.log(logging.ERROR, message, *args, exc_info=sys.exception(), extra=extra)

    def log(
        self,
        level: int,
        message: str,
        *args: Any,
        exc_info: BaseException | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if is_logged(level):
            emit(LogEvent(level, self.name, _formatted(message, args), extra or {}, exc_info))


def get_logger(name: str) -> Logger:
    """Return a logger for polyhost's own events; `name` is the module's."""
    return Logger(name)


def _formatted(message: str, args: tuple[Any, ...]) -> str:
    try:
        return message % args if args else message
    except Exception:  # of an argument's __str__: exceptions of a model's are among them
        return message
