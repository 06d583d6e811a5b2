"""The no-op handler, with which a zygote runs the worker's code.

Alone in its module, for a load of a handler that is not polyhost's looks at all names there.
"""

from typing import Any


def handle(data: Any, context: Any) -> Any:
    """Respond to each request with an empty object, in bytes and with a media type as polyhost's own handlers do."""
    if data is None:
        return None
    context.set_response_content_type(0, "application/json")
    return [b"{}" for _ in data]
