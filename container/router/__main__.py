"""The router's process: python -m polyhost.container.router MMS_PORT LOG_LOCK CONFIG_JSON.

The supervisor starts it, and writes the secrets of the model store to its stdin.
"""

import signal
import sys
from collections.abc import Sequence

import uvloop

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.errors import ConfigError
from polyhost.container.isolation.shared_processes import protect
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.container.router.server import Router
from polyhost.container.system.prctl import signal_on_parent_death
from polyhost.events import get_logger


def main(arguments: Sequence[str]) -> int:
    mms_port, log_lock, config_json = arguments
    config = Config.from_json(config_json)
    protect(config.isolation)
    log.configure_for(config, log.LogDescriptors(1, int(log_lock)))
    signal_on_parent_death(signal.SIGTERM)  # the supervisor is killed
    secrets = StoreSecrets.from_json(sys.stdin.buffer.read())
    try:
        return uvloop.run(_serve(config, int(mms_port), secrets))
    except ConfigError as error:  # of the store, which is opened here
        get_logger(__name__).error("%s", error)
        return 1


async def _serve(config: Config, mms_port: int, secrets: StoreSecrets) -> int:
    return await Router(config, mms_port, secrets).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
