"""moto's server with a state: a client gets its response when what it changed is saved."""

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from polyhost.emulator.errors import ServiceUnavailable
from polyhost.emulator.moto_services.errors import MotoResponse
from polyhost.emulator.moto_services.moto_server import SERVICE, MotoServer
from polyhost.emulator.moto_services.state.accesses import recorded_accesses
from polyhost.emulator.moto_services.state.moto_state import MotoState

_LOCKS = 256


class SavingMotoServer(MotoServer):
    """Saves what each request changed before it responds; a request that cannot be saved fails."""

    def __init__(self, state: MotoState) -> None:
        super().__init__()
        self._state = state
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def respond(self, environ: dict[str, Any]) -> MotoResponse:
        """Return the response to a WSGI request. Blocks; any thread may call it."""
        with self._turn(environ), recorded_accesses() as accesses:
            response = super().respond(environ)
            service = str(environ.get(SERVICE, ""))
            try:
                if service == "moto_api" and environ["PATH_INFO"] == "/moto-api/reset":
                    self._state.clear()
                self._state.save(service, environ["REQUEST_METHOD"], accesses)
            except ServiceUnavailable as error:
                return self.reject(environ, error)
            return response

    def _turn(self, environ: dict[str, Any]) -> AbstractContextManager[Any]:
        """Let requests that write the same S3 object take turns, so that none saves what another has half written.

        The parts of an upload are no object yet; the request that completes it, a POST, writes one.
        """
        writes = {"PUT": False, "DELETE": False, "POST": True}  # with an upload's ID or without
        in_upload = "uploadId=" in environ["QUERY_STRING"]
        if writes.get(environ["REQUEST_METHOD"]) is in_upload:
            return self._locks[hash((environ.get("HTTP_HOST"), environ["PATH_INFO"])) % _LOCKS]
        return nullcontext()
