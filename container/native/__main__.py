"""The native front end's process: python -m polyhost.container.native SUPERVISOR_DESCRIPTOR LOG_LOCK CONFIG_JSON.

The supervisor starts it.
"""

import sys
from collections.abc import Sequence

import uvloop

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.native.server import NativeServer


def main(arguments: Sequence[str]) -> int:
    supervisor, log_lock, config_json = arguments
    config = Config.from_json(config_json)
    log.configure_for(config, log.LogDescriptors(1, int(log_lock)))
    return uvloop.run(NativeServer(config, int(supervisor)).run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
