"""What a model's code finds around it in a worker: output, log, temporary folder, random numbers.

`polyhost check` enters the same, so that it passes what a container serves.
"""

import faulthandler
import gc
import os
import random
import sys
import tempfile

from polyhost.container import log, log_records
from polyhost.container.worker import printed
from polyhost.events import get_logger
from polyhost.handlers import frameworks

logger = get_logger(__name__)


def prepare() -> None:
    """Do what `enter` does alike in every fork of this process, a zygote: each would pay for it in memory and time."""
    printed.prepare()
    log_records.keep_what_handlers_lose()
    _forget_start_method()


def enter(model: str, temp_dir: str, output: int) -> None:
    """Surround this process, which is a new fork, for the model. Native code prints to the descriptor `output`."""
    for standard in (1, 2):
        os.dup2(output, standard)
    faulthandler.enable(2)  # writes the Python traceback of a segmentation fault there
    log.bind(model=model, pid=os.getpid())
    printed.capture()
    log_records.keep_what_handlers_lose()
    del sys.argv[1:]  # the zygote's arguments mean nothing to a script that parses its own
    os.environ["TMPDIR"] = temp_dir
    tempfile.tempdir = None  # forget the parent's
    reseed()
    _forget_start_method()
    gc.enable()


def reseed() -> None:
    """Draw other random numbers than the other forks of one process."""
    random.seed()
    frameworks.reseed(int.from_bytes(os.urandom(4), "little"))


def _forget_start_method() -> None:
    """Let a script set it: a lock that an import has made fixes it for good, and a `set_start_method` is an error."""
    if context := sys.modules.get("multiprocessing"):
        context.set_start_method(None, force=True)


def end_copies(process: int) -> None:
    """End this process unless it is the one with this id: the connection and what comes next are that one's alone.

    A child that model code forks, and forgets to end, comes back from the call as its parent does.
    """
    if os.getpid() != process:
        logger.error("the model's code calls os.fork(), and its child went on; it ends here: end it with os._exit(0)")
        os._exit(0)
