"""When a zygote that has died or hangs is started again, and whether its models wait for it.

One that crashes in its imports does so every time if a library is broken, but not if processes or memory were short.
"""

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

EXIT_SHORTAGE = os.EX_TEMPFAIL  # of a zygote whose imports failed for lack of processes or memory
_ERRNOS = frozenset({errno.EAGAIN, errno.ENOMEM})
# Python's text for a thread that cannot be started, and those of EAGAIN and ENOMEM, which native code quotes: libgomp
# and OpenBLAS for threads, the dynamic linker for libraries. Its error about static TLS is another: it does not pass.
_TEXTS = re.compile(
    "can't start new thread|resource temporarily unavailable|cannot allocate memory(?! in static tls)|memoryerror",
    re.IGNORECASE,
)
_MAX_CRASHES = 2  # in a row, before models no longer wait: their loads would never be replied to


@dataclass(frozen=True)
class RestartDelays:
    """Seconds until a zygote is started again."""

    restart_s: float = 0.5
    # After repeated crashes in imports: doubled each time.
    given_up_s: float = 60.0
    max_given_up_s: float = 960.0
    # After each death for lack of processes or memory: doubled each time.
    shortage_s: float = 5.0
    max_shortage_s: float = 60.0
    # Until a zygote that answers no request is killed, in rounds of half a second: no round passes while the
    # whole container is suspended or gets no processor.
    silent_rounds: int = 60
    importing_rounds: int = 600


class Restarts:
    """Of one zygote."""

    def __init__(self, delays: RestartDelays, has_steps: bool) -> None:
        """`has_steps`: whether the zygote imports anything. If not, it is never given up."""
        self.crashes = 0  # in a row, before it was ready
        self.given_up = False  # its models are served by the fallback until it is ready
        self._delays = delays
        self._has_steps = has_steps
        self.ready = False  # it has done its imports
        self._shortages = 0  # in a row

    def on_ready(self) -> None:
        """Begin anew."""
        self.ready, self.given_up = True, False
        self.crashes = self._shortages = 0

    def after_death(self, shortage: bool) -> float:
        """Return the seconds until the next start. `shortage`: whether processes or memory were short."""
        was_ready, self.ready = self.ready, False
        delays = self._delays
        if was_ready or not self._has_steps:
            return delays.restart_s
        if shortage:
            self._shortages += 1
            self.given_up = True
            return min(delays.shortage_s * 2.0 ** (self._shortages - 1), delays.max_shortage_s)
        self.crashes += 1
        if self.crashes < _MAX_CRASHES:
            return delays.restart_s
        self.given_up = True
        return min(delays.given_up_s * 2.0 ** (self.crashes - _MAX_CRASHES), delays.max_given_up_s)


def is_shortage(error: BaseException) -> bool:
    """Return whether this error, or one that it was raised from, reports a lack of processes or memory."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or (isinstance(seen, OSError) and seen.errno in _ERRNOS):
            return True
        if reports_shortage([str(seen)]):
            return True
        seen = seen.__cause__
    return False


def reports_shortage(lines: Iterable[str]) -> bool:
    """Return whether any of these lines, which native code has printed, reports a lack of processes or memory."""
    return any(map(_TEXTS.search, lines))
