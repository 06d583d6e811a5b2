"""The builder's process, started by the fork server for one archive: answers with LayerReady or LayerFailed."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel, LayerFailed, LayerReady
from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure
from polyhost.container.isolation.shared_processes import protect
from polyhost.container.layers import index
from polyhost.container.layers.builder import Builder, LayerPlan
from polyhost.container.layers.confinement import confine
from polyhost.container.layers.errors import InstallationError
from polyhost.container.layers.image import Image
from polyhost.container.layers.needs import Needs
from polyhost.container.layers.store import Hold, Layer, LayerStore
from polyhost.container.system import procfs
from polyhost.container.system.prctl import signal_on_parent_death
from polyhost.events import get_logger
from polyhost.handlers.errors import HandlerError

logger = get_logger("polyhost.container.layers")


def main(arguments: Sequence[str]) -> int:
    """Provide the layer of one archive; return the exit status."""
    signal_on_parent_death(signal.SIGKILL)
    model, directory, seconds, run_dir, log_output, log_lock, channel_descriptor, index_descriptor, config_json = (
        arguments
    )
    config = Config.from_json(config_json)
    protect(config.isolation)
    with contextlib.suppress(OSError):  # if memory runs out: this can be done again
        procfs.set_oom_score_adj(procfs.MAX_OOM_SCORE_ADJ)
    log.configure_for(config, log.LogDescriptors(int(log_output), int(log_lock)))
    log.bind(model=model)
    channel = Channel(socket.socket(fileno=int(channel_descriptor)))
    try:
        plan = _plan(config, Path(run_dir), int(index_descriptor), float(seconds))
        layer, hold = _layer(config, Path(directory), plan)
    except (HandlerError, OSError) as error:
        channel.send(LayerFailed(_failure(error, model)))
        return 1
    channel.send(LayerReady(layer.key, list(layer.packages), layer.isolated), (hold.descriptor,))
    return 0


def _plan(config: Config, run_dir: Path, index_descriptor: int, seconds: float) -> LayerPlan:
    variables = index.read(index_descriptor) if index_descriptor >= 0 else {}
    return LayerPlan(
        source=config.requirements,
        limit=config.layers_bytes,
        seconds=seconds,
        index=variables,
        confine=partial(confine, config, run_dir, variables),
        report=lambda text: logger.info("%s", text, extra={"phase": "load"}),
    )


def _layer(config: Config, directory: Path, plan: LayerPlan) -> tuple[Layer, Hold]:
    needs = Needs.of(directory)
    if needs is None:
        raise InstallationError("the requirement file has vanished")
    assert config.layers_dir is not None
    return Builder(LayerStore(Path(config.layers_dir)).prepare(), Image.of_process(), plan).layer_for(directory, needs)


def _failure(error: Exception, model: str) -> Failure:
    if isinstance(error, OSError):  # no room, no descriptor, no right
        logger.exception("cannot install the archive's packages", extra={"phase": "load"})
        return Failure(INSUFFICIENT_STORAGE, "InstallationError", str(error), model, "load")
    return Failure.of(error, model, "load").shortened()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
