"""A child of this process, for a model's code, which may change its process in any way, and end it."""

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from typing import Any

from polyhost.cli.errors import CommandError


class Ending(str):
    """How a child ended, as in "the process ..."."""


class _Complete:
    """Stands behind the last result."""


def results_of(steps: Iterator[Any]) -> list[Any]:
    """Run the generator in a child, and return what it yielded there. Raise a CommandError that ended it.

    If the child died before it came to the end of the generator, the last result is an Ending.
    """
    results = os.memfd_create("polyhost-results")  # not a pipe: what the model has started might hold it open
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _run(steps, results)
        try:
            _, status = os.waitpid(pid, 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # and what the model has started
        return _read(results, os.waitstatus_to_exitcode(status))
    finally:
        os.close(results)


def _run(steps: Iterator[Any], results: int) -> None:
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        with open(results, "wb", closefd=False) as file:
            try:
                for result in steps:
                    pickle.dump(result, file)
                    file.flush()
                pickle.dump(_Complete(), file)
            except CommandError as error:
                pickle.dump(CommandError(str(error)), file)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _read(results: int, code: int) -> list[Any]:
    found: list[Any] = []
    how = f"exited with status {code}" if code >= 0 else f"died of {_name(-code)}"
    with open(results, "rb", closefd=False) as file:
        file.seek(0)
        with contextlib.suppress(EOFError):
            while True:
                found.append(pickle.load(file))
    match found[-1:]:
        case [_Complete()]:
            return found[:-1]
        case [CommandError() as error]:
            raise error
    return [*found, Ending(how)]


def _name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
