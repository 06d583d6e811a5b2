"""Detection of waiters.

They sleep for 30 s between two requests: a response that waits for the change makes them quick.

botocore's waiters name themselves. SageMaker's Python SDK has loops of its own, which sleep for as long; its requests
do not tell whether such a loop sent them.
"""

from collections.abc import Mapping

_WAITER = "B"  # the mark of a waiter among the features in the user agent (botocore, useragent.py)
# Versions 2 and 3 (sagemaker/session.py, sagemaker/core/helper/session_helper.py: `_wait_until`). The resource classes
# of version 3 have another name, lib/AWS-SageMakerCore, and sleep for 5 s only.
_SDK = "lib/AWS-SageMaker-Python-SDK#"


def is_from_waiter(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a waiter sent the request: botocore's, or what stands for one in SageMaker's Python SDK."""
    agent = headers.get(b"user-agent", b"").decode("latin-1").split()
    features = next((word[2:] for word in agent if word.startswith("m/")), "")
    return _WAITER in features.split(",") or any(word.startswith(_SDK) for word in agent)
