"""Backpressure between one client and the container."""

import asyncio
import time

HIGH_WATER_BYTES = 1 << 20  # with more than this unsent, the client counts as slow


class FlowControl:
    """What is paused on one connection, in either direction (compare uvicorn's flow_control.py).

    Reading is paused by us while requests wait for their turn, so that a client cannot pile up pipelined requests.
    Writing is paused by the client: it does not take what it is sent, and more than HIGH_WATER_BYTES wait.
    """

    __slots__ = ("_stuck_since", "_transport", "_unsent_bytes", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.read_paused = False
        self.write_paused = False
        self._transport = transport
        self._unsent_bytes = 0  # when `is_stuck` last looked
        self._stuck_since = 0.0

    def pause_reading(self) -> None:
        """Read nothing more until `resume_reading`."""
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self.read_paused = False
        self._transport.resume_reading()

    def on_write_paused(self) -> None:
        self.write_paused = True

    def on_write_resumed(self) -> None:
        self.write_paused = False
        self._unsent_bytes = 0

    def is_stuck(self, before: float) -> bool:
        """Return whether the client has taken nothing since `before` of what it was sent.

        Compares with what the previous call saw, so it has to be called every few seconds.
        """
        unsent, seen = self._transport.get_write_buffer_size(), self._unsent_bytes
        self._unsent_bytes = unsent
        if not unsent or not seen or unsent < seen:
            self._stuck_since = time.monotonic()
            return False
        return self._stuck_since < before
