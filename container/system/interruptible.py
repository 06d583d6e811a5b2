"""Calls during which signals are handled at once."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def call_interruptibly(function: Callable[[], Result]) -> Result:
    """Call a function in a thread of its own, and return or raise what it does.

    Python runs signal handlers in the main thread, once no C code holds that up: the look-up of a name (getaddrinfo(3))
    takes ten seconds for each name server that does not answer. If a handler raises, this does too, and the thread goes
    on until it is done or the process ends.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result()
