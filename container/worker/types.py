"""What the front end asks a model, and what it answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class Headers(dict[str, str]):
    """Headers as the client wrote them, found whatever the case asked for (RFC 9110, 5.1)."""

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            return self[name]
        wanted = name.lower()
        return next((value for key, value in self.items() if key.lower() == wanted), default)


@dataclass(frozen=True)
class Request:
    """One call: headers as the client wrote them, and "body" (bytes) beside the query's parameters."""

    id: str
    headers: Mapping[str, str]
    parameters: Mapping[str, Any]

    @property
    def target_model(self) -> str | None:
        target: str | None = Headers(self.headers).get("x-amzn-sagemaker-target-model")
        return target


@dataclass(frozen=True)
class Response:
    id: str
    status: int
    headers: dict[str, str]
    body: bytes
    phrase: str = ""  # the status line's text, where the handler sets one
    chunks: Iterator[bytes] | None = None  # what comes after the body, where the handler yields
