"""The status page: memory that a worker shares with the fork server, from which its death can be explained.

After a worker's death the fork server must know what it was doing, and for which requests. Writing that down here costs
the worker a microsecond per request; a message would cost a system call.
"""

import fcntl
import json
import mmap
import os
import struct
import time
from collections.abc import Sequence
from enum import IntEnum
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

SIZE = 4096
_NAME = "polyhost-status"

# state, 3 bytes of padding, GPU, batch size, length of the payload, since, busy nanoseconds, requests answered
_HEAD = struct.Struct("<BxxxiIIdQQ")
_STATE = struct.Struct("<B")
_GPU_AND_BATCH = struct.Struct("<iI")
_SINCE = struct.Struct("<d")
_COUNTERS = struct.Struct("<QQ")
_LENGTH = struct.Struct("<I")
_LENGTH_AND_SINCE = struct.Struct("<Id")
_AT_GPU, _AT_LENGTH, _AT_SINCE, _AT_COUNTERS = 4, 12, 16, 24
_AT_IO_NAME = _HEAD.size  # one byte of length, then the name
_AT_PAYLOAD = 256


LOAD_REPLY = b'"load"'  # the payload of RESPONDING while the reply is a load's


class WorkerState(IntEnum):
    """What a worker is doing. The numbers are what stands on the page."""

    STARTING = 0  # forked; has not read its load command yet
    LOADING = 1  # from the handler's initialization to the load's reply
    IDLE = 2  # waiting for a command; another worker can take the connection over
    BUSY = 3  # a request has been read and nothing sent; payload: the requests' ids, a JSON array
    RESPONDING = 4  # part of a reply may have been sent: no other process may write to the connection now
    FAILED = 5  # the load failed and nothing was sent; payload: the failure, a JSON object
    BACKING_OFF = 6  # responds with an error until it is time to try the model again
    READING = 7  # a command is partly read, or partly executed: no other process can continue from here
    STREAMING = 8  # chunks of a response have been sent, and more follow


_STATES = tuple(WorkerState)  # WorkerState(number) takes ten times as long, and each round reads a thousand pages


class StatusPage:
    """One status page. The worker calls the methods, the fork server reads the properties.

    Invariant: a reader that sees a state sees the payload and the time that belong to it, since `enter` writes the
    state last. (Stores of one process are seen in order on x86-64; Python's own work separates them elsewhere.)
    """

    def __init__(self, descriptor: int) -> None:
        """Map the page; the descriptor may be closed afterwards."""
        self._map = mmap.mmap(descriptor, SIZE)

    @staticmethod
    def create() -> int:
        """Create a page and return its descriptor, which is handed to the worker."""
        descriptor = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, SIZE)
        # If a model's code could truncate the page, reading it would kill the fork server with SIGBUS.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        return descriptor

    @staticmethod
    def is_named(link: str) -> bool:
        """Return whether a link in /proc/PID/fd is to a status page (memfd_create(2) says how it reads)."""
        return link.startswith(f"/memfd:{_NAME} ")

    def close(self) -> None:
        self._map.close()

    # For the worker

    def enter(self, state: WorkerState, payload: bytes = b"") -> None:
        if payload:
            self._map[_AT_PAYLOAD : _AT_PAYLOAD + len(payload)] = payload
        _LENGTH_AND_SINCE.pack_into(self._map, _AT_LENGTH, len(payload), time.monotonic())
        _STATE.pack_into(self._map, 0, state)  # last: see the invariant

    def enter_busy(self, request_ids: Sequence[str]) -> None:
        """Enter BUSY with these ids, or with none where they do not fit."""
        payload = f"[{','.join(map(encode_basestring_ascii, request_ids))}]".encode()
        self.enter(WorkerState.BUSY, payload if len(payload) <= SIZE - _AT_PAYLOAD else b"[]")

    def count_reply(self, since: float, next_state: WorkerState = WorkerState.IDLE) -> None:
        """Count a reply, and the time since its request was read; then enter `next_state`.

        That is READING where the same command has more requests.
        """
        busy_ns, answered = self.counters
        _COUNTERS.pack_into(self._map, _AT_COUNTERS, busy_ns + int((time.monotonic() - since) * 1e9), answered + 1)
        self.enter(next_state)

    def remember_load(self, gpu_id: int | None, batch_size: int, io_name: str) -> None:
        """Write down what a replacement needs to load the model without a command of the front end's."""
        _GPU_AND_BATCH.pack_into(self._map, _AT_GPU, -1 if gpu_id is None else gpu_id, batch_size)
        name = io_name.encode()[: _AT_PAYLOAD - _AT_IO_NAME - 1]
        self._map[_AT_IO_NAME : _AT_IO_NAME + 1 + len(name)] = bytes([len(name)]) + name

    # For the fork server. The model's code can write to the page, so every value is checked before it is used.

    @property
    def state(self) -> WorkerState:
        number = self._map[0]
        return _STATES[number] if number < len(_STATES) else WorkerState.READING

    @property
    def since(self) -> float:
        """When the state was entered, in seconds of the monotonic clock, which all processes share; else 0."""
        since = float(_SINCE.unpack_from(self._map, _AT_SINCE)[0])
        return since if 0.0 <= since <= time.monotonic() else 0.0

    @property
    def counters(self) -> tuple[int, int]:
        """Nanoseconds spent on requests, and number of replies."""
        busy_ns, answered = _COUNTERS.unpack_from(self._map, _AT_COUNTERS)
        return int(busy_ns), int(answered)

    @property
    def payload(self) -> Any:
        """The payload's JSON, or None if it is missing or malformed."""
        length = min(int(_LENGTH.unpack_from(self._map, _AT_LENGTH)[0]), SIZE - _AT_PAYLOAD)
        try:
            return json.loads(self._map[_AT_PAYLOAD : _AT_PAYLOAD + length] or b"null")
        except (ValueError, RecursionError):
            return None

    @property
    def gpu_id(self) -> int | None:
        gpu = int(_GPU_AND_BATCH.unpack_from(self._map, _AT_GPU)[0])
        return gpu if gpu >= 0 else None

    @property
    def batch_size(self) -> int:
        return int(_GPU_AND_BATCH.unpack_from(self._map, _AT_GPU)[1]) or 1

    @property
    def io_name(self) -> str:
        """A plain file name, without folders."""
        length = self._map[_AT_IO_NAME]
        return Path(self._map[_AT_IO_NAME + 1 : _AT_IO_NAME + 1 + length].decode(errors="replace")).name
