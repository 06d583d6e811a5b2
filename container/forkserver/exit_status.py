"""Why a worker died, in words for the caller and with the right status."""

import os
import signal
from collections.abc import Sequence
from itertools import takewhile

from polyhost.container.errors import INSUFFICIENT_STORAGE, WorkerDiedError


def explain_death(
    wait_status: int,
    *,
    doing: str,
    oom_killed: bool,
    timed_out_after_s: float | None = None,
    output: Sequence[str] = (),
) -> WorkerDiedError:
    """`wait_status` is waitpid's; `doing` completes "the worker died while ..."; `output` is its last native lines."""
    if timed_out_after_s is not None:
        return WorkerDiedError(f"no answer within {timed_out_after_s:g} s while {doing}; the worker was ended", 504)
    code = os.waitstatus_to_exitcode(wait_status)
    how, status = _how(code, oom_killed)
    last = _last_words(output)
    detail = f"; it last said: {last[:300]}" if last else ""
    return WorkerDiedError(f"the worker {how} while {doing}{detail}", status)


def _last_words(output: Sequence[str]) -> str:
    """What faulthandler says after them, every frame and extension module, is for the log."""
    own = takewhile(lambda line: not line.startswith("Fatal Python error"), output)
    return next((line for line in reversed(list(own)) if line.strip()), "")


def _how(code: int, oom_killed: bool) -> tuple[str, int]:
    if code >= 0:
        return f"exited with status {code}", 500
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if code == -signal.SIGKILL and oom_killed:
        return "was killed by the kernel's out-of-memory killer", INSUFFICIENT_STORAGE
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL)", 500
    return f"died of {name}", 500
