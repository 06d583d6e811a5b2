"""The fork server's process, started by the supervisor."""

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel
from polyhost.container.forkserver.front_end import FrontEnd, Host
from polyhost.container.forkserver.server import ForkServer
from polyhost.container.isolation.shared_processes import protect
from polyhost.container.mms.adapter import MmsAdapter
from polyhost.container.native.adapter import NativeAdapter
from polyhost.container.system.event_loop import EventLoop


def main(arguments: Sequence[str]) -> int:
    """Run the fork server; the native front end's channel is one of the arguments, empty if MMS is the front end.

    So is the descriptor of what says where packages come from, empty if none are installed from an index.
    """
    run_dir, log_lock, log_collector, channel_descriptor, index_descriptor, config_json = arguments
    config = Config.from_json(config_json)
    protect(config.isolation)
    # The log gets a descriptor of its own: in a worker, 1 and 2 become a pipe for what native code prints.
    descriptors = log.LogDescriptors(os.dup(1), int(log_lock))
    log.configure_for(config, descriptors)
    loop = EventLoop()

    def make_front_end(host: Host) -> FrontEnd:
        if channel_descriptor:
            return NativeAdapter(host, loop, int(channel_descriptor))
        return MmsAdapter(host, loop, config, Path(run_dir))

    collector = Channel(socket.socket(fileno=int(log_collector)))
    index = int(index_descriptor) if index_descriptor else None
    return ForkServer(config, loop, Path(run_dir), descriptors, collector, make_front_end, index).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
