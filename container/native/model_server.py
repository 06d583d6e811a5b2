"""The native front end's models as the model cache loads and unloads them: called directly, without HTTP."""

from collections.abc import Callable
from dataclasses import dataclass

from polyhost.container.native.errors import Rejection
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.invocation import Caller
from polyhost.container.native.invocation_sender import InvocationSender
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.models import Models
from polyhost.container.native.parser import HttpRequest
from polyhost.container.native.served_model import ServedModel


@dataclass(frozen=True)
class LoadResponse:
    """An `ApiResponse`: the status that a client of the HTTP API would get, and the failure as JSON."""

    status: int
    body: bytes = b""


class NativeModelServer:
    """A `ModelServer`. `target_of` returns the name under which a version is served."""

    def __init__(self, models: Models, target_of: Callable[[str], str]) -> None:
        self._models = models
        self._target_of = target_of
        self._sender = InvocationSender()
        self._loaded: dict[str, ServedModel] = {}

    def submit(self, key: str, request: HttpRequest, exchange: Exchange, caller: Caller) -> None:
        """Invoke a loaded model. Raises Rejection."""
        self._sender.send(self._loaded[key], request, exchange, caller)

    def memory_of(self, key: str) -> int | None:
        """Return what one worker of a loaded model takes, if that has been measured."""
        model = self._loaded.get(key)
        return None if model is None else model.stats.memory_bytes or None

    async def load(self, key: str, url: str, target_model: str) -> LoadResponse:
        try:
            model = await self._models.load_version(LoadRequest(self._target_of(target_model), url))
        except Rejection as rejection:
            return LoadResponse(rejection.failure.code, rejection.failure.to_json())
        self._loaded[key] = model
        return LoadResponse(200)

    async def unload(self, key: str) -> LoadResponse:
        model = self._loaded.pop(key, None)
        if model is None:
            return LoadResponse(404)
        try:
            await self._models.unload_version(model)
        except Rejection as rejection:
            return LoadResponse(rejection.failure.code, rejection.failure.to_json())
        return LoadResponse(200)
