"""A container's HTTP API (developer guide, mms-container-apis and your-algorithms-inference-code), asynchronous."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiohttp

from polyhost.emulator.hosting.interfaces import ContainerResponse, Relay
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError

PING_TIMEOUT_S = 2.0
_LOAD_TIMEOUT_S = 600.0
_UNLOAD_TIMEOUT_S = 360.0
_STREAM_TIMEOUT_S = 480.0  # developer guide, "Model Hosting FAQs"
_CLOSED_WITHIN_S = 0.5
_CHUNK_BYTES = 1 << 20
_LARGE_BYTES = 1 << 20  # above it aiohttp warns of bytes (payload.py, TOO_LARGE_BYTES_BODY)
# The last one would tell the name of a request's file.
_SKIPPED_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type", "Content-Disposition")


@dataclass(frozen=True)
class ChunkedFile:
    """A body that is sent by chunked coding."""

    path: Path


def session() -> aiohttp.ClientSession:
    """Return an HTTP session for all containers: it keeps connections, and leaves responses as they came."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, skip_auto_headers=_SKIPPED_HEADERS, trust_env=False
    )


class ContainerClient:
    """Sends requests to one container. Every method but `ping` raises ContainerGoneError or ContainerTimeoutError."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self._last_error = -_CLOSED_WITHIN_S

    async def ping(self) -> bool:
        """Return whether the container answers /ping with 200."""
        try:
            return (await self._request("GET", "/ping", timeout_s=PING_TIMEOUT_S)).status == 200
        except (ContainerGoneError, ContainerTimeoutError):
            return False

    async def execution_parameters(self) -> ContainerResponse:
        """Ask how batch transform should send (developer guide, your-algorithms-batch-code)."""
        return await self._request("GET", "/execution-parameters", timeout_s=PING_TIMEOUT_S)

    async def load(self, key: str, url: str, target_model: str) -> ContainerResponse:
        """Load a model under the name `key` from the folder `url`."""
        body = json.dumps({"model_name": key, "url": url}).encode()
        headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Target-Model": target_model}
        return await self._request("POST", "/models", body, headers, _LOAD_TIMEOUT_S)

    async def is_loaded(self, key: str) -> bool:
        return (await self._request("GET", f"/models/{key}", timeout_s=PING_TIMEOUT_S)).status == 200

    async def unload(self, key: str) -> ContainerResponse:
        return await self._request("DELETE", f"/models/{key}", timeout_s=_UNLOAD_TIMEOUT_S)

    async def invoke(
        self,
        key: str | None,
        body: bytes | Path | ChunkedFile,
        headers: Mapping[str, str],
        timeout_s: float,
        relay: Relay | None = None,
    ) -> ContainerResponse:
        """Invoke the model of this name, or, with None, the one model of a container that has one.

        A body may be in a file, which is sent a part at a time, or by chunked coding.
        """
        path = "/invocations" if key is None else f"/models/{key}/invoke"
        return await self._request("POST", path, body, headers, timeout_s, relay)

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes | Path | ChunkedFile = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        relay: Relay | None = None,
    ) -> ContainerResponse:
        start = time.perf_counter()
        try:
            response, content = await self._exchange(method, path, body, headers, timeout_s, relay)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # MMS closes the connection after every error response, although its headers promise to keep it alive
            # (NettyUtils.java), so the next request may find it closed. Only then may a request be sent twice.
            if time.perf_counter() - self._last_error > _CLOSED_WITHIN_S or (relay is not None and relay.started):
                raise ContainerGoneError(f"the container gave no response to {method} {path}: {error}") from None
            return await self._request(method, path, body, headers, timeout_s, relay)
        elapsed_us = int((time.perf_counter() - start) * 1e6)
        if response.status >= 400:
            self._last_error = time.perf_counter()
        return ContainerResponse(response.status, _lower_case(response), content, elapsed_us)

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | Path | ChunkedFile,
        headers: Mapping[str, str] | None,
        timeout_s: float,
        relay: Relay | None,
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        if relay is None:
            timeout = aiohttp.ClientTimeout(total=timeout_s)
        else:  # a stream may take longer than the timeout, but not pause for so long
            timeout = aiohttp.ClientTimeout(total=max(_STREAM_TIMEOUT_S, timeout_s), sock_read=timeout_s)
        try:
            with _opened(body) as content:
                async with self._http.request(
                    method, self._url + path, data=content, headers=headers, timeout=timeout, allow_redirects=False
                ) as response:
                    if relay is None or not 200 <= response.status < 300:
                        return response, await response.read()
                    await relay.start(response.status, _lower_case(response))
                    async for chunk in response.content.iter_any():
                        await relay.send(chunk)
                    return response, b""
        except TimeoutError:
            raise ContainerTimeoutError(f"{method} {path} was not answered within {timeout_s:.0f} s") from None
        except aiohttp.ClientConnectorError as error:
            raise ContainerGoneError(f"the container does not listen: {error}", may_retry=True) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            raise
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ContainerGoneError(f"the container gave no response to {method} {path}: {error}") from None


@contextmanager
def _opened(body: bytes | Path | ChunkedFile) -> Iterator[bytes | IO[bytes] | AsyncIterator[bytes]]:
    if isinstance(body, bytes):
        yield io.BytesIO(body) if len(body) > _LARGE_BYTES else body
        return
    with (body if isinstance(body, Path) else body.path).open("rb") as file:
        yield file if isinstance(body, Path) else _chunks(file)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
        yield chunk


def _lower_case(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
