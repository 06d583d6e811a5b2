"""The workers of one model, as the front end sees them: its connections, and how many there should be."""

import asyncio
from collections.abc import Callable, Collection

from polyhost.container.control_protocol import AddSurvivor, AddWorker
from polyhost.container.errors import Failure
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.worker_connection import WorkerConnection
from polyhost.container.worker.protocol import LoadCommand


class WorkerPool:
    """The open connections of one model; each has one worker at a time.

    Invariants:
    - `idle` holds the connections whose worker has loaded the model and has nothing to do, the last used one last:
      it is the next to be used, for its memory is the most likely to be in the processor's caches.
    - A connection is in `connections` from its creation until `close`, or until on_connection_lost calls `remove`.
    - No connection is opened beyond `wanted`; `wanted` is 0 once the model is being unloaded.
    """

    def __init__(
        self,
        key: int,
        load_command: LoadCommand,
        wanted: int,
        fork_server: ForkServerClient,
        connect: Callable[[], WorkerConnection],
        disconnect: Callable[[WorkerConnection], None],
        on_open_failed: Callable[[OSError], None],
    ) -> None:
        """`connect` makes and registers a connection, `disconnect` undoes the registration."""
        self.idle: list[WorkerConnection] = []
        self.wanted = wanted
        self._key = key
        self._load_command = load_command
        self._fork_server = fork_server
        self._connect = connect
        self._disconnect = disconnect
        self._on_open_failed = on_open_failed
        self._connections: dict[int, WorkerConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def connections(self) -> Collection[WorkerConnection]:
        return self._connections.values()

    @property
    def running(self) -> int:
        """Return how many invocations workers have."""
        return sum(len(connection.invocations) for connection in self._connections.values())

    def resize(self, wanted: int) -> None:
        """Open connections, or close idle ones, until there are `wanted`; a busy one is closed when it is idle."""
        self.wanted = wanted
        while len(self._connections) > wanted and self.idle:
            self.close(self.idle[0])
        self.grow()

    def grow(self) -> None:
        """Open the connections that are missing."""
        for _ in range(self.wanted - len(self._connections)):
            self.add_soon()

    def add_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self.add())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def add(self) -> None:
        """Open one more connection, unless there are enough, and have the fork server fork a worker for it."""
        if len(self._connections) >= self.wanted:
            return
        connection: WorkerConnection | None = None
        try:
            connection = self._connect()
            self._connections[connection.number] = connection
            await connection.open()
            if connection.closing:  # closed while it was being opened
                return
            self._fork_server.send(AddWorker(self._key, connection.number), connection.workers_end.fileno())
        except OSError as error:  # no descriptor is left
            if connection is not None:
                self.close(connection)
            self._on_open_failed(error)
            return
        connection.load(self._load_command)

    def add_idle(self, connection: WorkerConnection) -> bool:
        """Make a connection available, or close a surplus one; return whether it is available."""
        if len(self._connections) > self.wanted and connection.loaded:
            self.close(connection)
            return False
        self.idle.append(connection)
        return True

    def close(self, connection: WorkerConnection) -> None:
        """Remove a connection and end it, and with it the worker."""
        self.remove(connection)
        connection.close()

    def remove(self, connection: WorkerConnection) -> None:
        """Remove a connection that has ended."""
        self._connections.pop(connection.number, None)
        self._disconnect(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def close_unloaded(self) -> None:
        """Close connections whose load has not ended: without its fork server, nothing is known of the worker."""
        for connection in [connection for connection in self._connections.values() if not connection.loaded]:
            self.close(connection)

    def hand_over(self) -> None:
        """Let a new fork server watch the workers that outlived its predecessor.

        A connection whose process is unknown cannot be watched, and is given up.
        """
        self.close_unloaded()  # opened while there was no fork server
        name = self._load_command.model_name
        for connection in list(self._connections.values()):
            if connection.pid is None or connection.status_page is None:
                connection.abort(Failure(503, "WorkerDiedError", "the fork server ended", name, "predict"))
                continue
            message = AddSurvivor(self._key, connection.number, connection.pid)
            try:
                self._fork_server.send(message, connection.workers_end.fileno(), connection.status_page)
            except OSError as error:  # no descriptor is left
                text = f"the worker cannot be handed over to the new fork server: {error}"
                connection.abort(Failure(503, "OSError", text, name, "predict"))
