"""The native front end's process: python -m polyhost.container.native SUPERVISOR_DESCRIPTOR CONFIG_JSON.

The supervisor starts it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.native.server import NativeServer


def main(arguments: Sequence[str]) -> int:
    supervisor, config_json = arguments
    config = Config.from_json(config_json)
    log.configure_for(config, Path.cwd())
    return uvloop.run(NativeServer(config, int(supervisor)).run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
