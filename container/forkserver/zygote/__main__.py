"""A zygote's process, started by the fork server (handle.py)."""

import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel
from polyhost.container.forkserver.zygote.process import run_zygote
from polyhost.handlers.frameworks import ZygoteSteps


def main(arguments: Sequence[str]) -> int:
    """Run until the fork server closes the channel; return the exit status."""
    name, imports, warm_ups, socket_descriptor, log_output, log_lock, run_dir, config_json = arguments
    config = Config.from_json(config_json)
    log.configure_for(config, log.LogDescriptors(int(log_output), int(log_lock)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the supervisor acts on it
    channel = Channel(socket.socket(fileno=int(socket_descriptor)))
    steps = ZygoteSteps(tuple(imports.split()), tuple(warm_ups.split()))
    return run_zygote(name, steps, channel, config, Path(run_dir))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
