"""A client of the container's API, as the platform of a multi-model endpoint calls it."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from polyhost.cli.errors import CommandError

TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"

# The platform waits 360 s for a load or an unload; a little more lets the container's own answer come first.
TIMEOUT = httpx.Timeout(370.0, connect=5.0)


class ContainerError(CommandError):
    """The container could not be reached, or answered with an error; `status` is 0 where nothing was answered."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class LoadedModel:
    """One entry of the container's list."""

    name: str
    url: str


class Container:
    """One container at one address; closed when the `with` block is left."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # Never through a proxy: the container stands on this machine or a network of its own.
        self._http = httpx.Client(timeout=TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def ping(self) -> bool:
        """Whether the container is up and healthy."""
        try:
            return self._http.get(f"{self.url}/ping").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def load(self, name: str, folder: str) -> None:
        self._call("POST", "/models", json={"model_name": name, "url": folder})

    def unload(self, name: str) -> None:
        self._call("DELETE", _path(name))

    def describe(self, name: str) -> dict[str, Any]:
        return _object(self._call("GET", _path(name)))

    def models(self) -> list[LoadedModel]:
        """All loaded models, from as many pages as there are."""
        found: list[LoadedModel] = []
        query: dict[str, str] = {}
        while True:
            page = _object(self._call("GET", "/models", params=query))
            found += [LoadedModel(entry["modelName"], entry["modelUrl"]) for entry in page["models"]]
            if not page.get("nextPageToken"):
                return found
            query = {"next_page_token": page["nextPageToken"]}

    def invoke(
        self, name: str, body: bytes, content_type: str, accept: str | None = None, target_model: str | None = None
    ) -> httpx.Response:
        headers = {"Content-Type": content_type, "Accept": accept, TARGET_MODEL: target_model}
        given = {key: value for key, value in headers.items() if value is not None}
        return self._call("POST", f"{_path(name)}/invoke", content=body, headers=given)

    def _call(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, self.url + path, **request)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ContainerError(
                f"{self.url!r} is no address of a container ({error}); give http://HOST:PORT"
            ) from error
        except httpx.ConnectError as error:
            raise ContainerError(
                f"no container answers at {self.url} ({error}); start one with polyhost serve, or give its --url"
            ) from error
        except httpx.TransportError as error:
            raise ContainerError(
                f"{method} {self.url}{path} was not answered: {error or type(error).__name__}"
            ) from error
        if response.is_error:
            raise ContainerError(
                f"{response.status_code} from {method} {path}: {_reason(response)}", response.status_code
            )
        return response


def _path(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def _object(response: httpx.Response) -> dict[str, Any]:
    value = _json(response)
    if not isinstance(value, dict):
        raise ContainerError(f"{response.url} answered something else than a JSON object; is it a container's address?")
    return value


def _reason(response: httpx.Response) -> str:
    """The server's own words; some of its errors have no body."""
    value = _json(response)
    if isinstance(value, dict) and value.get("message"):
        return str(value["message"])
    return response.text.strip() or response.reason_phrase


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
