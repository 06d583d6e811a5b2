"""Runs scripts of one SDK in forks of a process that has imported it: the import takes seconds of processor time.

    python -m tests.emulator.sdks.fork_scripts v2

Each line of the standard input is a Script as JSON; the answer is a line with its exit status.
"""

import importlib
import json
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import NoReturn

_PACKAGE = "tests.emulator.sdks"


@dataclass(frozen=True)
class Script:
    """A script, by its name in the SDK's package, and what it gets. After `seconds` it is killed."""

    name: str
    arguments: list[str]
    folder: str
    environ: dict[str, str]
    log: str  # the file for what it prints
    seconds: int


def main(version: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the SDK prints on import
    importlib.import_module(f"{_PACKAGE}.{version}.common")
    for line in sys.stdin:
        script = Script(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            _run(version, script)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _run(version: str, script: Script) -> NoReturn:
    status = 1
    try:
        log = os.open(script.log, os.O_WRONLY | os.O_CREAT)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        signal.alarm(script.seconds)
        os.chdir(script.folder)
        os.environ.clear()
        os.environ.update(script.environ)
        importlib.import_module(f"{_PACKAGE}.{version}.{script.name}").main(*script.arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1])
