"""A worker in a Python of its own (new_python.py)."""

import os
import sys
from collections.abc import Sequence

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.worker import surroundings
from polyhost.container.worker.new_python import handed_on
from polyhost.container.worker.process import become_worker


def main(arguments: Sequence[str]) -> int:
    """Load and serve the model; return the exit status. This process is confined already."""
    *words, config_json = arguments
    request, load, descriptors = handed_on(*words)
    config = Config.from_json(config_json)
    # The worker's events take their own way at once: this stands for the zygote's log, which a fork closes.
    log.configure_for(config, log.LogDescriptors(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)))
    surroundings.prepare()
    return become_worker(request, descriptors, config, None, load)


if __name__ == "__main__":
    status = 1
    try:
        status = main(sys.argv[1:])
    except BaseException:
        sys.excepthook(*sys.exc_info())  # to the worker's output
    finally:
        os._exit(status)
