"""The other side of the front end's models: a fork server and workers that a test plays over real sockets."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from polyhost.container.config import Config
from polyhost.container.control_protocol import AddWorker, Channel, CloseModel, Heartbeat, Message, ModelClosed
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.encoder import encode_invocation
from polyhost.container.native.errors import Rejection
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.models import Models
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.served_model import ModelTimeouts
from polyhost.container.worker.protocol import FrontEndConnection, LoadCommand, PredictCommand, encode_load_reply

T = TypeVar("T", bound=Message)
DEADLINE_S = 60.0


class RecordingCaller:
    """A caller (invocation.py) that keeps what it receives."""

    def __init__(self) -> None:
        self.received: list[WorkerResponse | Rejection | Chunk] = []

    def on_response(self, invocation: Invocation, response: WorkerResponse) -> None:
        self.received.append(response)

    def on_rejected(self, invocation: Invocation, rejection: Rejection) -> None:
        self.received.append(rejection)

    def on_chunk(self, invocation: Invocation, chunk: Chunk) -> None:
        self.received.append(chunk)

    @property
    def statuses(self) -> list[int]:
        return [item.status for item in self.received if isinstance(item, WorkerResponse)]


class ForkServerSide:
    """`models` are the front end's; the methods are what the supervisor, the fork server and clients do."""

    def __init__(
        self, base_dir: Path, pending: PendingBytes | None, timeouts: ModelTimeouts | None, **environ: str
    ) -> None:
        settings = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BASE_DIR": str(base_dir), **environ}
        self.config = Config.from_environ({"POLYHOST_FRONTEND": "native", **settings})
        self._supervisor, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.fork_server = ForkServerClient(theirs.detach())
        self.models = Models(self.config, self.fork_server, pending, timeouts)
        self.fork_server.start(self.models)
        self.channel, self._front_ends_channel = Channel.pair()
        self._invocations = 0
        self._workers: list[PlayedWorker] = []

    async def start(self) -> None:
        """Connect a fork server that knows nothing yet."""
        self.channel.socket.settimeout(DEADLINE_S)
        with self._front_ends_channel.socket:
            socket.send_fds(self._supervisor, [b"."], [self._front_ends_channel.fileno()])
        assert isinstance((await self._receive())[0], Heartbeat)

    async def restart(self) -> None:
        """End this fork server, and start another one."""
        self.channel.close()
        self.channel, self._front_ends_channel = Channel.pair()
        await self.start()

    async def close(self) -> None:
        self._supervisor.close()
        self.channel.close()
        for worker in self._workers:
            worker.socket.close()
        await self.fork_server.supervisor_ended.wait()
        self.fork_server.close()
        self.models.close()
        await asyncio.sleep(0.01)  # for the transports to close

    def create_directory(self, name: str) -> str:
        directory = self.config.models_dir / name
        directory.mkdir(parents=True, exist_ok=True)
        return str(directory)

    async def next_message(self) -> tuple[Message, list[int]]:
        """Return the front end's next message but heartbeats, which are returned to it."""
        while isinstance((received := await self._receive())[0], Heartbeat):
            self.channel.send(received[0])
        return received

    async def _receive(self) -> tuple[Message, list[int]]:
        received = await asyncio.to_thread(self.channel.receive)
        assert received is not None
        return received

    async def next_of(self, kind: type[T]) -> tuple[T, list[int]]:
        """Return the next message of this kind; others are ignored."""
        while not isinstance((received := await self.next_message())[0], kind):
            pass
        return received[0], received[1]

    async def next_worker(self) -> "PlayedWorker":
        """Return the worker that the front end asks for."""
        message, descriptors = await self.next_of(AddWorker)
        self._workers.append(PlayedWorker(message, descriptors[0]))
        return self._workers[-1]

    async def load(self, name: str) -> "PlayedWorker":
        """Have a model loaded; return its worker."""
        load = asyncio.create_task(self.models.load(LoadRequest(name, self.create_directory(name))))
        worker = await self.next_worker()
        await worker.load()
        await load
        return worker

    async def close_model(self) -> None:
        """Report the model that the front end closes next as closed."""
        message, _ = await self.next_of(CloseModel)
        self.channel.send(ModelClosed(message.key))

    def invoke(self, name: str) -> tuple[Invocation, RecordingCaller]:
        self._invocations += 1
        caller, request_id = RecordingCaller(), b"%d" % self._invocations
        model = self.models.get(name)
        command = encode_invocation(request_id, b"", b"", b"body")
        invocation = Invocation(request_id, command, model, caller, time.monotonic())
        model.submit(invocation)
        return invocation, caller


class PlayedWorker:
    def __init__(self, message: AddWorker, descriptor: int) -> None:
        self.number = message.connection
        self.socket = socket.socket(fileno=descriptor)
        self.socket.settimeout(DEADLINE_S)
        self._connection = FrontEndConnection(self.socket)

    async def load(self) -> None:
        assert isinstance(await asyncio.to_thread(self._connection.receive), LoadCommand)
        self.send(encode_load_reply(200, "{}"))

    async def next_ids(self) -> list[str]:
        """Return the ids of the requests in the next command."""
        command = await asyncio.to_thread(self._connection.receive)
        assert isinstance(command, PredictCommand)
        return [request.id for request in command.requests]

    def send(self, data: bytes) -> None:
        self._connection.send(data)

    def die(self) -> None:
        """End the connection, of which the front end has duplicates of this end."""
        self.socket.shutdown(socket.SHUT_RDWR)


def run_scenario(
    scenario: Callable[[ForkServerSide], Coroutine[Any, Any, None]],
    base_dir: Path,
    pending: PendingBytes | None = None,
    timeouts: ModelTimeouts | None = None,
    **environ: str,
) -> None:
    async def run() -> None:
        side = ForkServerSide(base_dir, pending, timeouts, **environ)
        await side.start()
        try:
            await asyncio.wait_for(scenario(side), 6 * DEADLINE_S)
        finally:
            await side.close()

    uvloop.run(run())
