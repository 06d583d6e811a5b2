"""Requests to APIs and function URLs, and the responses."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

MAX_HEADERS = 200


@dataclass(frozen=True)
class SiteRequest:
    """A request: `path` is what follows the stage, `headers` have their names as the client has sent them."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    source_ip: str
    protocol: str

    def header(self, name: str) -> str | None:
        """Return a header's last value, by its name in lower case."""
        found = [value for key, value in self.headers if key.lower() == name]
        return found[-1] if found else None

    def at(self, path: str) -> "SiteRequest":
        """Return the request with another path."""
        return replace(self, path=path)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The query's parameters, in order."""
        return parse_qsl(self.query, keep_blank_values=True)


@dataclass(frozen=True)
class EventTarget:
    """What a request is for, as events tell it. `full_path` has the stage, `event_path` if the kind of API has it."""

    api_id: str
    domain: str
    stage: str
    resource_id: str
    resource_path: str
    event_path: str
    full_path: str
    path_parameters: dict[str, str] = field(default_factory=dict)
    stage_variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteResponse:
    """A response."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def message_response(status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> SiteResponse:
    """Return one of API Gateway's own responses."""
    content = json.dumps({"message": message}).encode()
    return SiteResponse(status, [("Content-Type", "application/json"), *headers], content)
