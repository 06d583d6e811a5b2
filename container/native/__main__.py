"""The native front end's process: python -m polyhost.container.native SUPERVISOR_DESCRIPTOR LOG_LOCK CONFIG_JSON.

The supervisor starts it, and with a model store writes its secrets to our stdin.
"""

import sys
from collections.abc import Sequence

import uvloop

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.errors import ConfigError
from polyhost.container.isolation.shared_processes import protect
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.container.native.server import NativeServer
from polyhost.events import get_logger


def main(arguments: Sequence[str]) -> int:
    supervisor, log_lock, config_json = arguments
    config = Config.from_json(config_json)
    protect(config.isolation)
    log.configure_for(config, log.LogDescriptors(1, int(log_lock)))
    secrets = None if config.store is None else StoreSecrets.from_json(sys.stdin.buffer.read())
    try:
        return uvloop.run(_serve(config, int(supervisor), secrets))
    except ConfigError as error:  # of the store, which is opened here
        get_logger(__name__).error("%s", error)
        return 1


async def _serve(config: Config, supervisor: int, secrets: StoreSecrets | None) -> int:
    return await NativeServer(config, supervisor, secrets).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
