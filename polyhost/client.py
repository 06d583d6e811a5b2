"""A client of the container's HTTP API: what SageMaker calls on a multi-model container."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

_TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"
# SageMaker waits 360 s for a load or an unload; a little more lets the container's own response come first.
_TIMEOUT = httpx.Timeout(370.0, connect=5.0)


class RequestError(Exception):
    """A request that failed. `status` is the HTTP status of the response, or 0 if there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class LoadedModel:
    """One entry of the container's list of models; `url` is the model directory."""

    name: str
    url: str


class PolyhostClient:
    """A connection to one container. Close it, or use it as a context manager.

    Its methods raise RequestError if the container cannot be reached and, unless `raise_for_status` is false, for
    every status from 400 on.
    """

    def __init__(self, url: str, *, timeout: httpx.Timeout | float = _TIMEOUT, raise_for_status: bool = True) -> None:
        self.url = url.rstrip("/")
        self._raise_for_status = raise_for_status
        # Never through a proxy: the container runs on this machine or in a private network.
        self._http = httpx.Client(timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ping(self) -> bool:
        """Return whether the container is up and healthy."""
        try:
            return self._http.get(f"{self.url}/ping").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def list_models(self) -> list[LoadedModel]:
        """Return all loaded models, from as many list pages as there are."""
        found: list[LoadedModel] = []
        query: dict[str, str] = {}
        while True:
            page = _json_object(self._send("GET", "/models", params=query))
            found += [LoadedModel(entry["modelName"], entry["modelUrl"]) for entry in page["models"]]
            if not page.get("nextPageToken"):
                return found
            query = {"next_page_token": page["nextPageToken"]}

    def describe(self, name: str) -> dict[str, Any]:
        """Return what the container reports about one model."""
        return _json_object(self._send("GET", _path(name)))

    def load(self, name: str, url: str, **parameters: Any) -> httpx.Response:
        """Load the model whose directory is `url` under this name. `parameters` are added to the request's JSON."""
        return self._send("POST", "/models", json={"model_name": name, "url": url, **parameters})

    def unload(self, name: str) -> httpx.Response:
        """Unload a model; its memory is free when this returns."""
        return self._send("DELETE", _path(name))

    def invoke(
        self,
        name: str,
        body: bytes | str,
        content_type: str,
        *,
        accept: str | None = None,
        target_model: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Return the model's response. `target_model` is the archive's name, which SageMaker sends along."""
        optional = {"Accept": accept, _TARGET_MODEL: target_model}
        given = {name: value for name, value in optional.items() if value is not None}
        sent = {"Content-Type": content_type, **given, **(headers or {})}
        return self._send("POST", f"{_path(name)}/invoke", content=body, headers=sent)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, self.url + path, **request)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise RequestError(f"{self.url!r} is not a container's address ({error}); give http://HOST:PORT") from error
        except httpx.ConnectError as error:
            raise RequestError(
                f"no container is listening at {self.url} ({error}); start one with polyhost serve, or give its --url"
            ) from error
        except httpx.TransportError as error:
            raise RequestError(f"{method} {self.url}{path} got no response: {error or type(error).__name__}") from error
        if response.is_error and self._raise_for_status:
            raise RequestError(
                f"{response.status_code} from {method} {path}: {_reason(response)}", response.status_code
            )
        return response


def _path(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def _json_object(response: httpx.Response) -> dict[str, Any]:
    value = _json(response)
    if not isinstance(value, dict):
        raise RequestError(f"the response of {response.url} is not a JSON object; is it a container's address?")
    return value


def _reason(response: httpx.Response) -> str:
    """Return the server's own message; some of its errors have no body."""
    value = _json(response)
    if isinstance(value, dict) and value.get("message"):
        return str(value["message"])
    return response.text.strip() or response.reason_phrase


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
