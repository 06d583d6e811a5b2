"""Detection of botocore's waiters.

They pause for 30 s between two requests: a response that waits for the change makes them quick.
"""

from collections.abc import Mapping

_WAITER = "B"  # the mark of a waiter among the features in the user agent (botocore, useragent.py)


def is_from_waiter(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether one of botocore's waiters sent the request."""
    agent = headers.get(b"user-agent", b"").decode("latin-1")
    features = next((word[2:] for word in agent.split() if word.startswith("m/")), "")
    return _WAITER in features.split(",")
