"""Requests to an instance, repeated as ModelClientConfig says."""

import asyncio
import time
from pathlib import Path

from polyhost.emulator.batch_transform.failures import ContainersLostError, FailureKind, TransformError
from polyhost.emulator.batch_transform.spec import ClientSpec
from polyhost.emulator.hosting.faults import FaultKind, Faults
from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.hosting.interfaces import ContainerResponse, InvocationRequest
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError, ModelServingError

_FIRST_PAUSE_S = 0.2
_POLL_S = 0.05
_MAX_DETAIL_CHARS = 2000


class Sender:
    """Sends the payloads of one job to one instance.

    A response of 5xx, and none at all, is followed by a retry; the one of 4xx would be the same again. Raises
    ContainersLostError if the containers do not come back within `restart_s`.
    """

    def __init__(
        self,
        instance: Instance,
        headers: dict[str, str],
        client: ClientSpec,
        restart_s: float,
        faults: Faults,
        job: str,
    ) -> None:
        self._instance = instance
        self._headers = headers
        self._client = client
        self._restart_s = restart_s
        self._faults = faults
        self._job = job

    async def send(self, body: bytes, file: Path | None = None) -> ContainerResponse:
        """Return a response of 200. Raises TransformError."""
        request = InvocationRequest(body, self._headers, timeout_s=self._client.timeout_s, body_file=file, chunked=True)
        pause = _FIRST_PAUSE_S
        for retries_left in range(self._client.retries, -1, -1):
            error = await self._attempt(request)
            if isinstance(error, ContainerResponse):
                return error
            if not retries_left or error.kind is FailureKind.CLIENT:
                raise error
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError("a request is sent at least once")

    async def _attempt(self, request: InvocationRequest) -> ContainerResponse | TransformError:
        if fault := self._faults.take(FaultKind.ERROR, self._job, ""):
            return TransformError(FailureKind.INTERNAL, f"{fault.code}: a fault on demand")
        try:
            response = await self._invoke(request)
        except ContainerTimeoutError:
            limit = f"{self._client.timeout_s:.0f} seconds"
            text = f"Model server did not respond to /invocations request within {limit}"
            return TransformError(FailureKind.ALGORITHM, text)
        except ModelServingError as error:
            return TransformError(FailureKind.ALGORITHM, "Unable to get response from algorithm", str(error))
        if response.status == 200:
            return response
        by_client = 400 <= response.status < 500
        text = f"{'ClientError' if by_client else 'Bad HTTP status received from algorithm'}: {response.status}"
        named = f"{text} from {response.container}" if response.container else text
        detail = response.body[: 4 * _MAX_DETAIL_CHARS].decode(errors="replace")[:_MAX_DETAIL_CHARS]
        return TransformError(FailureKind.CLIENT if by_client else FailureKind.ALGORITHM, named, detail)

    async def _invoke(self, request: InvocationRequest) -> ContainerResponse:
        """Return the response; a request that reached no container is sent when there is one again."""
        deadline = time.monotonic() + self._restart_s
        while True:
            await self._until_in_service(deadline)
            try:
                return await self._instance.invoke(request)
            except ContainerGoneError as error:
                if not error.may_retry:
                    raise
                await asyncio.sleep(_POLL_S)

    async def _until_in_service(self, deadline: float) -> None:
        while not self._instance.in_service:
            if time.monotonic() > deadline:
                limit = f"{self._restart_s:.0f} seconds"
                text = f"Unable to get response from algorithm: its container did not come back within {limit}"
                raise ContainersLostError(FailureKind.ALGORITHM, text)
            await asyncio.sleep(_POLL_S)
