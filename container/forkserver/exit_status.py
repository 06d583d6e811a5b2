"""Why a worker died, as an error for the caller with the appropriate status."""

import os
import signal
from collections.abc import Sequence
from itertools import takewhile

from polyhost.container.errors import INSUFFICIENT_STORAGE, WorkerDiedError

_MAX_OUTPUT = 300  # characters


def explain_death(
    wait_status: int,
    *,
    activity: str,
    oom_killed: bool,
    timed_out_after_s: float | None = None,
    output: Sequence[str] = (),
) -> WorkerDiedError:
    """Return the error for a worker that ended with this wait status (waitpid's).

    `activity` completes "the worker died while ..."; `output` has the last lines that native code printed.
    """
    if timed_out_after_s is not None:
        return WorkerDiedError(
            f"no response within {timed_out_after_s:g} s while {activity}; the worker was killed", 504
        )
    code = os.waitstatus_to_exitcode(wait_status)
    how, status = _describe(code, oom_killed)
    last = _last_line(output)
    detail = f"; last output: {last[:_MAX_OUTPUT]}" if last else ""
    return WorkerDiedError(f"the worker {how} while {activity}{detail}", status)


def _last_line(output: Sequence[str]) -> str:
    """Return the last line before faulthandler's report: its frames and extension modules are for the log only."""
    own = takewhile(lambda line: not line.startswith("Fatal Python error"), output)
    return next((line for line in reversed(list(own)) if line.strip()), "")


def _describe(code: int, oom_killed: bool) -> tuple[str, int]:
    if code >= 0:
        return f"exited with status {code}", 500
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if code == -signal.SIGKILL and oom_killed:
        return "was killed by the kernel's out-of-memory killer", INSUFFICIENT_STORAGE
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL)", 500
    return f"died of {name}", 500
