"""The two protocols between the fork server and the adapter of a front end.

The fork server asks an adapter through `FrontEnd`; an adapter asks the fork server through `Host`. Neither side imports
the other: forkserver/__main__.py chooses the adapter and passes it in.
"""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from polyhost.container.errors import Failure
from polyhost.container.forkserver.records import HostedModel, WorkerRecord


class FrontEnd(Protocol):
    """What the fork server asks of an adapter, and the events that it reports to it."""

    @property
    def busy_rounds(self) -> int:
        """The rounds in a row for which a model must be busy before it gets another worker."""

    @property
    def idle_share(self) -> float:
        """The share of the time that a model's workers may be busy in each round before it loses one."""

    @property
    def extended_protocol(self) -> bool:
        """Whether the front end understands our additions to MMS's protocol (worker/protocol.py)."""

    @property
    def substitute_code(self) -> int:
        """The code of a reply to requests on behalf of a worker that died (worker/protocol.py)."""

    def start(self) -> None:
        """Begin to accept requests for models; the host may be used from now on."""

    def is_up(self) -> bool:
        """Return whether the front end accepts connections or has been heard from."""

    def resize(self, model: HostedModel, workers: int) -> None:
        """Ask the front end to have `workers` connections to the model. Raises OSError if it cannot be asked."""

    def on_started(self, worker: WorkerRecord) -> None:
        """Report that a process serves the worker's connection; `worker.descriptors` are still open."""

    def on_load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        """Fail the first load of a model so that it is not left registered; releases the worker sooner or later."""

    def on_extra_worker_failed(self, worker: WorkerRecord) -> None:
        """Report that a further worker of a model that is loaded could not be had; it is released already."""

    def on_released(self, worker: WorkerRecord, reason: Failure | None) -> None:
        """Report that the worker's connection is about to be closed.

        `reason` says why if no reply could be sent on the connection itself, because the worker died in the
        middle of a message.
        """

    def on_memory_measured(self, model: HostedModel, size: int) -> None:
        """Report the bytes that one worker of the model occupies."""

    def on_model_closed(self, model: HostedModel) -> None:
        """Report that no process and no file of the model is left."""

    def on_supervisor_died(self) -> None:
        """Kill the processes that only the supervisor would have stopped."""


class Host(Protocol):
    """What an adapter asks of the fork server. Not to be called before the adapter's `start`."""

    def attempt(self, key: int) -> AbstractContextManager[None]:
        """Open a model in the block that this manages. Raises ForkServerDiedError if two have died in it."""

    def framework_of(self, directory: str, handler: str) -> str:
        """Return the framework whose zygote is to fork the model's workers."""

    def make_temp_dir(self, key: int) -> Path:
        """Create a model's temp folder. Raises OSError."""

    def add_model(self, model: HostedModel) -> None:
        """Take note of a model that the front end loads. Raises OSError."""

    def add_worker(self, model: HostedModel, connection: socket.socket, number: int = 0) -> None:
        """Have a worker serve the connection, on which the front end sends a load command; takes the socket over.

        `number` is the front end's for the connection. The load may be rejected for lack of memory.
        """

    def add_survivor(self, model: HostedModel, connection: socket.socket, number: int, page: int, pid: int) -> None:
        """Watch a worker that outlived its fork server; takes the socket over. `page` is its status page."""

    def close_model(self, model: HostedModel) -> None:
        """Close the model as soon as its last worker has ended."""

    def hold_rejected(self, worker: WorkerRecord) -> None:
        """Keep the connection of a rejected load open until the front end hangs up, then release the worker."""

    def release(self, worker: WorkerRecord) -> None:
        """Close the worker's connection and everything else that is held for it."""

    def resize(self, model: HostedModel, workers: int) -> None:
        """Have the front end change the number of the model's workers; logs a failure."""


MakeFrontEnd = Callable[[Host], FrontEnd]
