"""The size of models' temp folders, which no quota bounds: measured by a process of its own, again and again.

A quota takes privileges that a container has not. What a model has deleted and keeps open is not counted.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from polyhost.container.errors import INSUFFICIENT_STORAGE, WorkerDiedError
from polyhost.container.forkserver.reaper import Reaper
from polyhost.container.forkserver.records import HostedModel
from polyhost.container.forkserver.trash import Trash
from polyhost.events import get_logger

_REST_FACTOR = 9.0  # times the duration of the measurement before it: a tenth of a core at most
_MIN_REST_S = 1.0
_PATIENCE_S = 60.0  # with folders of millions of files; the next measurement begins behind them
_MOST_AT_ONCE = 500  # folders of one command
_LOWEST_PRIORITY = 19

logger = get_logger(__name__)


@dataclass
class _Measurement:
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    models: list[HostedModel]
    began: float

    def sizes(self) -> dict[str, int]:
        """Return the bytes that were counted, by folder; the last line may be cut off."""
        self.output.seek(0)
        lines = [line.partition(b"\t") for line in self.output.read().split(b"\n")[:-1]]
        return {os.fsdecode(folder): int(size) for size, _, folder in lines}


class TempFolders:
    """Reports each model whose temp folder, the home in it included, holds more than it may."""

    def __init__(
        self,
        limit: int | None,
        models: Mapping[int, HostedModel],
        on_exceeded: Callable[[HostedModel, int], None],
    ) -> None:
        """`limit`: bytes; None: nothing is measured. `on_exceeded` gets the model and the bytes."""
        self._limit = limit
        self._models = models
        self._on_exceeded = on_exceeded
        self._measurement: _Measurement | None = None
        self._next = 0.0  # when to begin, by the monotonic clock
        self._last_key = 0  # of the last model that was measured

    def check(self) -> None:
        """Begin a measurement, or look whether one has ended; to be called now and then."""
        now = time.monotonic()
        if self._limit is None:
            return
        if self._measurement is not None:
            self._look_at(self._measurement, now)
        elif now >= self._next and self._models:
            with contextlib.suppress(OSError):  # no process or no descriptor can be had now
                self._measurement = self._begin(now)

    def _begin(self, now: float) -> _Measurement:
        models = sorted(self._models.values(), key=lambda model: (model.key <= self._last_key, model.key))
        models = models[:_MOST_AT_ONCE]
        output = tempfile.TemporaryFile()  # noqa: SIM115
        # Blocks on the disk, as a quota counts: --apparent-size would count the holes of sparse files. The output is no
        # pipe, which would have to be read meanwhile.
        command = ["du", "-s", "-B1", "--", *(str(model.temp_dir) for model in models)]
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)
        except OSError:
            output.close()
            raise
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _LOWEST_PRIORITY)
        return _Measurement(process, output, models, now)

    def _look_at(self, measurement: _Measurement, now: float) -> None:
        if measurement.process.poll() is None and now - measurement.began < _PATIENCE_S:
            return
        finished = measurement.process.poll() is not None
        measurement.process.kill()
        measurement.process.wait()
        self._measurement = None
        self._next = now + max(_MIN_REST_S, _REST_FACTOR * (now - measurement.began))
        with measurement.output:
            sizes = measurement.sizes()
        for model in measurement.models:
            self._last_key = model.key
            size = sizes.get(str(model.temp_dir))
            if size is not None:
                self._report(model, size)
            elif not finished:  # the time was over in this folder
                break

    def _report(self, model: HostedModel, size: int) -> None:
        assert self._limit is not None
        if size > self._limit and self._models.get(model.key) is model:
            self._on_exceeded(model, size)


class TempFolderEnds:
    """Ends what runs of a model whose temp folder holds too much, and empties the folder."""

    def __init__(self, limit: int | None, reaper: Reaper, trash: Trash) -> None:
        self._limit = limit or 0
        self._reaper = reaper
        self._trash = trash

    def on_exceeded(self, model: HostedModel, size: int) -> None:
        """Kill what runs of the model, and give it an empty folder: its next worker begins anew."""
        error = WorkerDiedError(
            f"the model's temp folder holds {size >> 20} MB, and may hold {self._limit >> 20} MB"
            " (POLYHOST_WORKER_TEMP_MB); its processes were killed, and the folder was emptied",
            INSUFFICIENT_STORAGE,
        )
        logger.error("%s", error, extra={"model": model.name})
        for worker in model.workers.values():
            worker.kill_for(error)
        for survivor in model.survivors:
            survivor.kill()
        self._reaper.kill_leftovers_of(model)
        self._trash.add(model.temp_dir)
        model.temp_dir.mkdir(mode=0o700, exist_ok=True)
        if model.user is not None:
            os.chown(model.temp_dir, model.user, model.user)
