"""The entry point: `serve` runs the container; anything else is executed as a command."""

import os
import sys
from collections.abc import Mapping, Sequence

from polyhost.container import log
from polyhost.container.config import Config, child_environment, with_default_store
from polyhost.container.errors import ConfigError
from polyhost.container.supervisor import serve


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Run what the arguments say, ["serve"] for `docker run IMAGE serve`; return the container's exit status.

    `environ` has the container's settings, and is the environment of its processes.
    """
    if not arguments:
        return _fail("nothing to run: give `serve`, or a command to execute")
    if arguments[0] != "serve":
        return _execute(arguments)
    try:
        environ = with_default_store(environ)
        config = Config.from_environ(environ)
        log.configure_for(config)
        return serve(config, child_environment(environ))
    except ConfigError as error:
        return _fail(str(error))


def _execute(arguments: Sequence[str]) -> int:
    try:
        os.execvp(arguments[0], list(arguments))
    except OSError as error:
        return _fail(f"cannot run {arguments[0]!r} ({error.strerror}); give `serve`, or a command of the image")


def _fail(message: str) -> int:
    print(f"polyhost: {message}", file=sys.stderr)  # noqa: T201
    return 2
