"""Loads that MMS has lost: registered in MMS for ever, without a launcher, so that the next load gets 409."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from polyhost.container.mms.client import MmsClient
from polyhost.container.worker.model_directory import why_unreadable
from polyhost.events import get_logger

# How long after a rejected load MMS may lose another one, which it fails after a minute.
_ALERT_S = 120.0
_SELDOM_S = 30.0

logger = get_logger(__name__)


class LostLoads:
    """Unregisters models that are registered in MMS and have no launcher, in two looks one after the other.

    MMS loses a load in these cases:

    - When a launcher ends, MMS's thread for it goes back to a pool, by way of a NullPointerException, so that it still
      counts as the launcher's. Unregistering a rejected model interrupts that thread, whatever it does by then. If it
      has just begun to start another model's launcher, that load gets 500 after a minute and the model stays
      registered. So for some time after `on_rejected`, every `check` is a look.
    - When a launcher cannot be started, for want of processes or because Java cannot enter the model's folder. So there
      is a look now and then in any case.
    """

    def __init__(self, mms: MmsClient, launched_names: Callable[[], set[str]]) -> None:
        """`launched_names`: of the models that have a launcher."""
        self._mms = mms
        self._launched_names = launched_names
        self._suspects: set[str] = set()  # names that had no launcher at the last look
        self._alert_until = 0.0
        self._looked = time.monotonic()

    def on_rejected(self) -> None:
        """Look more often for a while: a load has been rejected."""
        self._alert_until = time.monotonic() + _ALERT_S

    def check(self) -> None:
        """Look if it is time."""
        now = time.monotonic()
        if now < self._alert_until or now - self._looked > _SELDOM_S:
            self._looked = now
            with contextlib.suppress(OSError):
                self._mms.models(self._on_models)

    def _on_models(self, urls: dict[str, str]) -> None:
        # A model that is just being loaded is registered a moment before its launcher reports to us: it must be without
        # one at two looks.
        suspects = urls.keys() - self._launched_names()
        for name in suspects & self._suspects:
            reason = why_unreadable(Path(urls[name]))
            because = f" ({reason})" if reason else ""
            logger.warning(
                "MMS has lost a load%s; unregistered it, so that the next one works", because, extra={"model": name}
            )
            with contextlib.suppress(OSError):
                self._mms.unload(name)
        self._suspects = suspects
