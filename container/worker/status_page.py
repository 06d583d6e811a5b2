"""A page of memory that a worker shares with the fork server, so that the latter can say what died in whose hands.

Writing it costs the worker a microsecond a request; a message would cost a system call.
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
_HEAD = struct.Struct("<BxxxiIIdQQ")  # state, gpu, batch size, payload length, since, busy ns, answered
_STATE = struct.Struct("<B")
_GPU_AND_BATCH = struct.Struct("<iI")
_SINCE = struct.Struct("<d")
_COUNTERS = struct.Struct("<QQ")
_LENGTH = struct.Struct("<I")
_LENGTH_AND_SINCE = struct.Struct("<Id")
_IO_NAME = _HEAD.size
_PAYLOAD = 256

_AT_GPU, _AT_LENGTH, _AT_SINCE, _AT_COUNTERS = 4, 12, 16, 24


class WorkerState(IntEnum):
    STARTING = 0  # forked; has not read its load command yet
    LOADING = 1  # inside the handler's initialize
    IDLE = 2  # waiting for a request
    BUSY = 3  # has read a request; payload: the request ids
    RESPONDING = 4  # part of the answer may be on the wire: nobody else may write now
    FAILED = 5  # the load failed and nothing was answered; payload: the failure
    BACKING_OFF = 6  # answers with an error until it is time to try the model again
    READING = 7  # a command is arriving or half done: nobody can take over from here
    STREAMING = 8  # pieces of an answer are on the wire, and more are to come


_STATES = tuple(WorkerState)  # to call WorkerState costs ten times as much, and a round asks a thousand pages


class StatusPage:
    """Both halves: the worker calls the verbs, the fork server reads the properties."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, SIZE)

    @staticmethod
    def create() -> int:
        """A new page; returns its descriptor, which goes to the worker."""
        descriptor = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, SIZE)
        # To read a page that a model's code has cut off would be the reader's end (SIGBUS).
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        return descriptor

    @staticmethod
    def is_named(link: str) -> bool:
        """Whether a descriptor in /proc/PID/fd is one of a page (memfd_create(2))."""
        return link.startswith(f"/memfd:{_NAME} ")

    def close(self) -> None:
        self._map.close()

    # The worker's half

    def enter(self, state: WorkerState, payload: bytes = b"") -> None:
        if payload:
            self._map[_PAYLOAD : _PAYLOAD + len(payload)] = payload
        _LENGTH_AND_SINCE.pack_into(self._map, _AT_LENGTH, len(payload), time.monotonic())
        _STATE.pack_into(self._map, 0, state)  # last: a reader that sees the state sees what belongs to it

    def busy(self, request_ids: Sequence[str]) -> None:
        payload = f"[{','.join(map(encode_basestring_ascii, request_ids))}]".encode()
        self.enter(WorkerState.BUSY, payload if len(payload) <= SIZE - _PAYLOAD else b"[]")

    def answered(self, since: float, afterwards: WorkerState = WorkerState.IDLE) -> None:
        """`since`: when the request was read. `afterwards`: READING where the same command has more requests."""
        busy_ns, answered = self.counters
        _COUNTERS.pack_into(self._map, _AT_COUNTERS, busy_ns + int((time.monotonic() - since) * 1e9), answered + 1)
        self.enter(afterwards)

    def remember_load(self, gpu_id: int | None, batch_size: int, io_name: str) -> None:
        _GPU_AND_BATCH.pack_into(self._map, _AT_GPU, -1 if gpu_id is None else gpu_id, batch_size)
        name = io_name.encode()[: _PAYLOAD - _IO_NAME - 1]
        self._map[_IO_NAME : _IO_NAME + 1 + len(name)] = bytes([len(name)]) + name

    # The fork server's half: the page is as the model's code has left it, so anything may stand there

    @property
    def state(self) -> WorkerState:
        number = self._map[0]
        return _STATES[number] if number < len(_STATES) else WorkerState.READING

    @property
    def since(self) -> float:
        """When the state was entered, in seconds of the monotonic clock, which all processes share."""
        since = float(_SINCE.unpack_from(self._map, _AT_SINCE)[0])
        return since if 0.0 <= since <= time.monotonic() else 0.0

    @property
    def counters(self) -> tuple[int, int]:
        """Nanoseconds spent on requests, and requests answered."""
        busy_ns, answered = _COUNTERS.unpack_from(self._map, _AT_COUNTERS)
        return int(busy_ns), int(answered)

    @property
    def payload(self) -> Any:
        length = min(int(_LENGTH.unpack_from(self._map, _AT_LENGTH)[0]), SIZE - _PAYLOAD)
        try:
            return json.loads(self._map[_PAYLOAD : _PAYLOAD + length] or b"null")
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
        length = self._map[_IO_NAME]
        return Path(self._map[_IO_NAME + 1 : _IO_NAME + 1 + length].decode(errors="replace")).name
