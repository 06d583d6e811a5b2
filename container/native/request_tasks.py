"""Tasks that answer requests, whatever becomes of the work."""

from collections.abc import Coroutine
from typing import Any

from polyhost.container.native.errors import Rejection, internal_error
from polyhost.container.native.target_routes import Answer
from polyhost.events import get_logger
from polyhost.model_cache.background import BackgroundTasks

logger = get_logger(__name__)


class RequestTasks:
    """Runs what a request asks for. It goes on if the client disconnects, as in SageMaker's other containers."""

    def __init__(self) -> None:
        self._background = BackgroundTasks()

    def run(self, work: Coroutine[Any, Any, None], answer: Answer) -> None:
        """Run `work` as a task. If it raises, `answer` gets the rejection, or an internal error, which is logged."""
        self._background.start(_answered(work, answer))


async def _answered(work: Coroutine[Any, Any, None], answer: Answer) -> None:
    try:
        await work
    except Rejection as rejection:
        answer.reject(rejection)
    except Exception:
        logger.exception("failed to handle a request")
        answer.reject(internal_error())
