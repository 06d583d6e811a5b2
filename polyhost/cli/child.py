"""A child of this process, for a model's code, which may change its process in any way, and end it."""

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from typing import Any

from polyhost.cli.errors import CommandError
from polyhost.cli.work_dir import STOP_SIGNALS


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
        return _read(results, os.waitstatus_to_exitcode(_wait(pid)))
    finally:
        os.close(results)


def _wait(pid: int) -> int:
    """Return the child's wait status. Whatever happens meanwhile, neither it nor what the model has started is left."""
    try:
        return os.waitpid(pid, 0)[1]
    except BaseException:
        os.kill(pid, signal.SIGKILL)  # it may lead no group yet
        os.waitpid(pid, 0)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _run(steps: Iterator[Any], results: int) -> None:
    from polyhost.container.system.prctl import signal_on_parent_death  # `polyhost models` runs without the container

    status = 1
    try:
        signal_on_parent_death(signal.SIGKILL)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
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
