"""Multi Model Server's process, started by the supervisor: the SageMaker inference toolkit, which starts Java."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.isolation.shared_processes import protect
from polyhost.container.mms.toolkit import run_toolkit
from polyhost.container.system.prctl import signal_on_parent_death


def main(arguments: Sequence[str]) -> int:
    """Run until MMS ends."""
    run_dir, log_lock, config_json = arguments
    config = Config.from_json(config_json)
    protect(config.isolation)
    log.configure_for(config, log.LogDescriptors(1, int(log_lock)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the supervisor acts on it
    signal_on_parent_death(signal.SIGTERM)  # if the supervisor is killed: the toolkit passes SIGTERM on to MMS
    run_toolkit(config, Path(run_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
