"""In place of `sagemaker_containers.beta.framework.worker`."""

from collections.abc import Iterable, Mapping
from typing import Any

from polyhost.handlers.body.media_types import JSON as _JSON


class Response:
    """What an output_fn or transform_fn may return, with the members of Flask's response that scripts use."""

    def __init__(
        self,
        response: Any = None,
        accept: str | None = None,
        status: Any = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        mimetype: str | None = None,
        direct_passthrough: bool = False,
    ) -> None:
        """`accept` and `direct_passthrough` are ignored, as in SageMaker's own; `status` is 404 or "404 NOT FOUND"."""
        self.response = response
        self.status_code = int(str(status).partition(" ")[0]) if isinstance(status, str) else int(status)
        self.headers = dict(headers or {})
        self.mimetype = mimetype or _JSON

    @property
    def content_type(self) -> str:
        """The media type, with its parameters if the headers have it."""
        given = {name.lower(): value for name, value in self.headers.items()}
        return given.get("content-type") or self.mimetype

    @property
    def data(self) -> Any:
        """The body."""
        return self.get_data()

    def get_data(self, as_text: bool = False) -> Any:
        """Return the body as bytes or as text; anything else as it was given."""
        body = b"" if self.response is None else self.response
        if as_text:
            return body.decode() if isinstance(body, bytes) else body
        return body.encode() if isinstance(body, str) else body

    def set_data(self, value: Any) -> None:
        """Replace the body."""
        self.response = value
