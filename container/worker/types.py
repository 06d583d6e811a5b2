"""What a worker is asked, what it replies, and how it ends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from polyhost.handlers.body import forms
from polyhost.handlers.body.forms import Field


class WorkerExit(IntEnum):
    """Exit codes of a worker that the fork server acts on; any other one is the model's doing, or 0."""

    LOAD_FAILED = 70  # the failure is in the status page
    BACKOFF_OVER = 75  # it is time to fork a worker that loads the model


class Headers(dict[str, str]):
    """Headers as the client wrote them; `get` ignores case (RFC 9110, 5.1)."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value under this name, else under the first that differs from it by case only."""
        if name in self:
            return self[name]
        wanted = name.lower()
        return next((value for key, value in self.items() if key.lower() == wanted), default)


def target_model(headers: Mapping[str, str]) -> str | None:
    """Return the archive that SageMaker's caller has named."""
    target: str | None = Headers(headers).get("x-amzn-sagemaker-target-model")
    return target


@dataclass(frozen=True)
class Request:
    """One request for a prediction. `parameters` has the parameters of the URL's query, and "body" as bytes.

    Of a form, MMS sends the fields in place of the body: `fields` are all parameters with their types, for MMS only.
    """

    id: str
    headers: Mapping[str, str]
    parameters: Mapping[str, Any]
    fields: Sequence[Field] | None = None

    @property
    def item(self) -> dict[str, Any]:
        """Return what a handler is given: the parameters, with the fields of a form in place of its body."""
        return forms.item(self.parameters, self.fields, self._content_type)

    @property
    def _content_type(self) -> str:
        # In the two usual spellings first: this is done for each request.
        headers = self.headers
        found = headers.get("content-type") or headers.get("Content-Type")
        return found or Headers(headers).get("content-type") or ""

    @property
    def target_model(self) -> str | None:
        return target_model(self.headers)


@dataclass(frozen=True)
class Response:
    """The response to one request. `phrase` is the status line's text, where the handler sets one.

    `chunks`: the rest of a streamed response, of which `body` is the first chunk; None if `body` is all of it.
    """

    id: str
    status: int
    headers: dict[str, str]
    body: bytes
    phrase: str = ""
    chunks: Iterator[bytes] | None = None
