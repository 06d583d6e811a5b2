"""The fork server's and the workers' part towards the front end's models: real channels, connections and messages."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from polyhost.container.config import Config
from polyhost.container.control_protocol import AddWorker, Channel, Heartbeat, Message
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.encoder import encode_invocation
from polyhost.container.native.errors import Rejection
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.invocation import Invocation
from polyhost.container.native.models import Models
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.served_model import ModelTimeouts
from polyhost.container.worker.protocol import FrontEndConnection, LoadCommand, PredictCommand, encode_load_reply

T = TypeVar("T", bound=Message)
PATIENCE_S = 10.0


class Caller:
    """Who waits for an answer; keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[WorkerResponse | Rejection | Chunk] = []

    def on_response(self, call: Invocation, answer: WorkerResponse) -> None:
        self.told.append(answer)

    def on_rejected(self, call: Invocation, rejection: Rejection) -> None:
        self.told.append(rejection)

    def on_chunk(self, call: Invocation, piece: Chunk) -> None:
        self.told.append(piece)


class Side:
    def __init__(
        self,
        base_dir: Path,
        pending: PendingBytes | None = None,
        timeouts: ModelTimeouts | None = None,
        **environ: str,
    ) -> None:
        settings = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BASE_DIR": str(base_dir), **environ}
        self.config = Config.from_environ({"POLYHOST_FRONTEND": "native", **settings})
        self._supervisor, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.fork_server = ForkServerClient(theirs.detach())
        self.models = Models(self.config, self.fork_server, pending, timeouts)
        self.fork_server.start(self.models)
        self.channel: Channel
        self._numbers = 0
        self._workers: list[Worker] = []

    async def start(self) -> None:
        """As a fork server that knows nothing yet."""
        self.channel, front_ends = Channel.pair()
        self.channel.socket.settimeout(PATIENCE_S)
        with front_ends.socket:
            socket.send_fds(self._supervisor, [b"."], [front_ends.fileno()])
        assert isinstance((await self._receive())[0], Heartbeat)

    async def close(self) -> None:
        self._supervisor.close()
        self.channel.close()
        for worker in self._workers:
            worker.socket.close()
        await self.fork_server.supervisor_ended.wait()
        self.fork_server.close()
        self.models.close()
        await asyncio.sleep(0.01)

    def folder(self, name: str) -> str:
        folder = self.config.models_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    async def next(self) -> tuple[Message, list[int]]:
        """What the front end asks for next."""
        while isinstance((received := await self._receive())[0], Heartbeat):
            self.channel.send(received[0])
        return received

    async def _receive(self) -> tuple[Message, list[int]]:
        received = await asyncio.to_thread(self.channel.receive)
        assert received is not None
        return received

    async def next_of(self, kind: type[T]) -> tuple[T, list[int]]:
        while not isinstance((received := await self.next())[0], kind):
            pass
        return received[0], received[1]

    async def next_worker(self) -> "Worker":
        message, descriptors = await self.next_of(AddWorker)
        self._workers.append(Worker(message, descriptors[0]))
        return self._workers[-1]

    async def loaded(self, name: str) -> "Worker":
        load = asyncio.create_task(self.models.load(name, self.folder(name)))
        worker = await self.next_worker()
        await worker.load()
        await load
        return worker

    def call(self, name: str) -> tuple[Invocation, Caller]:
        self._numbers += 1
        caller, request_id = Caller(), b"%d" % self._numbers
        model = self.models.get(name)
        call = Invocation(
            request_id,
            encode_invocation(request_id, b"", b"", b"body"),
            model,
            caller,
            asyncio.get_running_loop().time(),
        )
        model.submit(call)
        return call, caller


class Worker:
    def __init__(self, message: AddWorker, descriptor: int) -> None:
        self.link = message.connection
        self.socket = socket.socket(fileno=descriptor)
        self.socket.settimeout(PATIENCE_S)
        self.connection = FrontEndConnection(self.socket)

    async def load(self) -> None:
        assert isinstance(await asyncio.to_thread(self.connection.receive), LoadCommand)
        self.send(encode_load_reply(200, "{}"))

    async def next(self) -> list[str]:
        """The ids of the requests that come together."""
        command = await asyncio.to_thread(self.connection.receive)
        assert isinstance(command, PredictCommand)
        return [request.id for request in command.requests]

    def send(self, data: bytes) -> None:
        self.connection.send(data)

    async def hung_up(self) -> bool:
        return await asyncio.to_thread(self.socket.recv, 1) == b""


def play(
    story: Callable[[Side], Coroutine[Any, Any, None]],
    base_dir: Path,
    pending: PendingBytes | None = None,
    timeouts: ModelTimeouts | None = None,
    **environ: str,
) -> None:
    async def run() -> None:
        side = Side(base_dir, pending, timeouts, **environ)
        await side.start()
        try:
            await asyncio.wait_for(story(side), 6 * PATIENCE_S)
        finally:
            await side.close()

    uvloop.run(run())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)
