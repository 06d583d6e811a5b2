"""Server-sent events (HTML standard, 9.2), as the page reads them: `state` every second, `event` as events occur."""

import json
from typing import Any

CONTENT_TYPE = "text/event-stream"
STATE_PERIOD_S = 1.0


def server_sent_event(name: str, content: Any) -> str:
    """Return one event."""
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"
