"""Descriptions that wait for a change: waiters of botocore pause for 30 s or more between two requests."""

import asyncio


class ChangeWatch:
    """Announces changes to requests that wait for one."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._stepped = asyncio.Event()
        self._described = False  # since the last change

    def announce(self) -> None:
        """Wake what waits."""
        self.announce_step()
        self._changed.set()
        self._changed = asyncio.Event()

    def announce_step(self) -> None:
        """Wake what waits, apart from waiters: the change that they wait for goes on."""
        self._described = False
        self._stepped.set()
        self._stepped = asyncio.Event()

    async def wait(self, timeout_s: float, patient: bool) -> None:
        """Wait for the next change, but no longer than `timeout_s`.

        Waiters are patient. Other clients get the first description after a change or a step at once.
        """
        waits, self._described = patient or self._described, True
        if waits:
            event = self._changed if patient else self._stepped
            try:
                await asyncio.wait_for(event.wait(), timeout_s)
            except TimeoutError:
                return
