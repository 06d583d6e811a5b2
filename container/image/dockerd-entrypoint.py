"""The image's ENTRYPOINT, with the name that it has in AWS's own containers."""

import os
import signal
import sys

# Until `serve` has handlers of its own: the kernel sends process 1 of a container no signal that it has no handler for.
for stop_signal in (signal.SIGTERM, signal.SIGINT):
    signal.signal(stop_signal, lambda number, frame: os._exit(0))

from polyhost.container.main import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
