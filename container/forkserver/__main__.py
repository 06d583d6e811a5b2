"""The fork server's process, started by the supervisor."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.forkserver.server import ForkServer


def main(arguments: Sequence[str]) -> int:
    run_dir, log_descriptor, front_descriptor, config_json = arguments
    config = Config.from_json(config_json)
    # A number of its own for the log: a worker's 1 and 2 become a pipe for what native code prints.
    descriptor = os.dup(int(log_descriptor))
    log.configure_for(config, Path(run_dir), descriptor)
    front = int(front_descriptor) if front_descriptor else None
    return ForkServer(config, Path(run_dir), descriptor, front).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
