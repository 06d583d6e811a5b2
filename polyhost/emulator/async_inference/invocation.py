"""An asynchronous invocation: what InvokeEndpointAsync accepted."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polyhost.emulator.hosting.async_settings import AsyncSettings


@dataclass(frozen=True)
class AsyncInvocation:
    """All that is needed to answer an invocation, whatever the endpoint's configuration has become by then.

    `id` is unique and names its objects; the client may use an `inference_id` twice. Without an `input_location` the
    body came with the request. `headers` are those for the container. Times are in seconds, `received` since 1970.
    """

    id: str
    region: str
    endpoint: str
    inference_id: str
    input_location: str | None
    headers: Mapping[str, str]
    received: float
    ttl_s: int
    timeout_s: int
    output_location: str | None
    failure_location: str | None
    settings: AsyncSettings

    @classmethod
    def from_json(cls, text: str) -> "AsyncInvocation":
        """Return a saved invocation. Raises ValueError, KeyError or TypeError."""
        saved: dict[str, Any] = json.loads(text)
        return cls(**{**saved, "settings": AsyncSettings.from_json(saved["settings"])})

    def to_json(self) -> str:
        """Return the invocation as it is saved."""
        return json.dumps(asdict(self))

    @property
    def expires(self) -> float:
        """When it is too old to be begun."""
        return self.received + self.ttl_s
