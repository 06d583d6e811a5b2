"""The invocations that are accepted and not yet answered, in a file, so that they survive a killed emulator."""

import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from polyhost.emulator.async_inference.invocation import AsyncInvocation
from polyhost.emulator.errors import EmulatorError, StartError

_FILE = "async-invocations.sqlite3"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS invocations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL,
    body BLOB,
    begun INTEGER NOT NULL DEFAULT 0
)
"""


class QueueError(EmulatorError):
    """The queue cannot be written or read; the message names its file."""


class SavedInvocation(NamedTuple):
    """An invocation of an earlier emulator; `begun` says that it was in progress when that ended."""

    invocation: AsyncInvocation
    begun: bool


class InvocationStore:
    """Keeps invocations in the order in which they were accepted; in memory, if there is no folder for them.

    All methods but `close` raise QueueError.
    """

    def __init__(self, folder: Path | None) -> None:
        """Open the file, and create it if need be. Raises StartError."""
        self._path = folder / _FILE if folder is not None else None
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path or ":memory:", isolation_level=None)
            try:
                self._set_up()
            except BaseException:
                self._database.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise StartError(
                f"cannot open the saved queue {self._path} ({error}); remove the file, or choose another --state"
            ) from error

    @property
    def survives(self) -> bool:
        """Whether the next emulator with the same state finds the invocations."""
        return self._path is not None

    def add(self, invocation: AsyncInvocation, body: bytes | None) -> None:
        """Keep an invocation, with its body if that came with the request."""
        self._execute(
            "INSERT INTO invocations (id, content, body) VALUES (?, ?, ?)", invocation.id, invocation.to_json(), body
        )

    def body(self, invocation: AsyncInvocation) -> bytes:
        """Return the body that came with the request."""
        found = self._execute("SELECT body FROM invocations WHERE id = ?", invocation.id)
        if not found or found[0][0] is None:
            raise QueueError(f"the body of invocation {invocation.inference_id} is not in {self._name}")
        return bytes(found[0][0])

    def note_begun(self, invocation: AsyncInvocation, begun: bool) -> None:
        """Note that an invocation is in progress, or is waiting again."""
        self._execute("UPDATE invocations SET begun = ? WHERE id = ?", int(begun), invocation.id)

    def remove(self, invocation: AsyncInvocation) -> None:
        """Forget an invocation that is answered, or is not to be answered."""
        self._execute("DELETE FROM invocations WHERE id = ?", invocation.id)

    def saved(self) -> list[SavedInvocation]:
        """Return all invocations, the oldest first."""
        rows = self._execute("SELECT content, begun FROM invocations ORDER BY number")
        try:
            return [SavedInvocation(AsyncInvocation.from_json(content), bool(begun)) for content, begun in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise QueueError(f"cannot read an invocation in {self._name}: {error!r}") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _set_up(self) -> None:
        # With a log beside it, a change costs no wait for the disk, and survives whatever ends the process.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(_SCHEMA)

    @property
    def _name(self) -> str:
        return str(self._path or "memory")

    def _execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise QueueError(f"the queue in {self._name} failed: {error}; see whether the disk is full") from error
