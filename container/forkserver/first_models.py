"""The zygotes that are worth starting ahead of a load: those of the models that are there when the container starts.

Without any, that of the only framework, if the image has no other.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.errors import ForkServerDiedError
from polyhost.container.forkserver.attempts import Attempts
from polyhost.container.forkserver.front_end import FrontEnd
from polyhost.container.forkserver.zygote.pool import ZygotePool
from polyhost.container.memory.gauge import MemoryGauge
from polyhost.container.system.event_loop import EventLoop
from polyhost.handlers import frameworks

_MOST = 50  # folders that are looked at, each for milliseconds
_SHARE = 2  # of the memory, a half is left for models
_KEY = 0  # no front end's key of a model
_WAIT_S, _POLL_S = 10.0, 0.05  # for the front end


class FirstZygotes:
    """Starts the zygotes that models are going to need, before there is a load."""

    def __init__(
        self,
        config: Config,
        loop: EventLoop,
        zygotes: ZygotePool,
        front_end: FrontEnd,
        attempts: Attempts,
        framework_of: Callable[[Path], str],
        gauge: MemoryGauge,
    ) -> None:
        self._config = config
        self._loop = loop
        self._zygotes = zygotes
        self._front_end = front_end
        self._attempts = attempts
        self._framework_of = framework_of
        self._gauge = gauge
        self._deadline = 0.0

    def start(self) -> None:
        """Choose the zygotes, and start them now or once the front end is up."""
        if self._config.zygotes is None:
            self._expect_models()
        self._deadline = time.monotonic() + _WAIT_S
        self._start_when_up()

    def _expect_models(self) -> None:
        """Choose the zygotes of the models that are there; none if two fork servers have died of that."""
        with contextlib.suppress(ForkServerDiedError), self._attempts.attempt(_KEY):
            names = [self._framework_of(model) for model in first_models(self._config)]
            if self._config.multi_model:
                names = those_that_fit(names or only_framework(), self._gauge.read().available)
            self._zygotes.expect(names)

    def _start_when_up(self) -> None:
        """Start them once the front end is up, which needs the cores until then: the platform waits for its /ping.

        The only model of a container is what the platform waits for.
        """
        if not self._config.multi_model or self._front_end.is_up() or time.monotonic() > self._deadline:
            self._zygotes.start()
        else:
            self._loop.after(_POLL_S, self._start_when_up)


def first_models(config: Config) -> list[Path]:
    """Return the model directories that are there; none with a model store, whose first models are loaded at once."""
    if not config.multi_model:
        return [config.models_dir]
    found: list[Path] = []
    if config.store is None:
        with contextlib.suppress(OSError):  # SageMaker makes the folder with the first model
            for folder in islice(config.models_dir.iterdir(), _MOST):
                inner = folder / "model"  # as SageMaker unpacks them
                found.append(inner if inner.is_dir() else folder)
    return found


def only_framework() -> list[str]:
    """Return the framework that is installed, if there is just one: the first model is going to need it."""
    installed = [name for name in frameworks.registered() if frameworks.installed(name)]
    return installed if len(installed) == 1 else []


def those_that_fit(names: Iterable[str], memory: int) -> list[str]:
    """Return the frameworks whose zygotes fit, those of the most models first. `names`: each model's framework.

    `memory`: the bytes that the container has left.
    """
    room, chosen = memory // _SHARE, []
    for name, _ in Counter(names).most_common():
        size = frameworks.named(name).zygote_bytes
        if size <= room:
            room -= size
            chosen.append(name)
    return chosen
