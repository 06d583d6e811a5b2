"""Records in a database of SQLite: a transaction is either there after the emulator's end, or it is not."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import moto

from polyhost.emulator.errors import StartError

# Of the tables and of what is in them; older and newer ones are not read.
_VERSION = 1
_TABLES = (
    "CREATE TABLE records (kind TEXT, key TEXT, content BLOB, PRIMARY KEY (kind, key))",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT)",
    f"PRAGMA user_version = {_VERSION}",
)
# A record that is written again keeps its place, and so its position in the order of creation.
_WRITE = """
INSERT INTO records (kind, key, content) VALUES (?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET content = excluded.content
"""


class Change(NamedTuple):
    """A record to write, or to remove if it has no content."""

    kind: str
    key: tuple[str, ...]
    content: bytes | None


class Update(NamedTuple):
    """Changes that belong together, and what to do once they are written."""

    changes: list[Change]
    written: Callable[[], None]


class Records:
    """Contents by kind and key. Any thread may call a method, but only one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hashes: dict[tuple[str, str], int] = {}  # of what is in the file
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise StartError(
                f"cannot read the saved state in {path} ({error}); restore the file, or choose another --state"
            ) from error

    def load(self, kind: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
        """Yield keys and contents of all records of a kind, in the order in which they were created.

        Raises StartError.
        """
        try:
            rows = self._connection.execute(
                "SELECT key, content FROM records WHERE kind = ? ORDER BY rowid", (kind,)
            ).fetchall()
        except sqlite3.Error as error:
            raise StartError(
                f"cannot read the saved state in {self._path} ({error}); restore the file, or choose another --state"
            ) from error
        for key, content in rows:
            self._hashes[kind, key] = hash(content)
            yield tuple(json.loads(key)), content

    def write(self, changes: Iterable[Change]) -> None:
        """Write all of the changes or, with an error, none of them. Raises sqlite3.Error."""
        encoded = [(change.kind, json.dumps(change.key), change.content) for change in changes]
        new = [item for item in encoded if self._hashes.get(item[:2]) != (item[2] and hash(item[2]))]
        if not new:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for kind, key, content in new:
                if content is None:
                    self._connection.execute("DELETE FROM records WHERE kind = ? AND key = ?", (kind, key))
                else:
                    self._connection.execute(_WRITE, (kind, key, content))
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled back already
                self._connection.execute("ROLLBACK")
            raise
        for kind, key, content in new:
            if content is None:
                self._hashes.pop((kind, key), None)
            else:
                self._hashes[kind, key] = hash(content)

    def clear(self) -> None:
        """Remove all records. Raises sqlite3.Error."""
        self._connection.execute("DELETE FROM records")
        self._hashes.clear()

    def close(self) -> None:
        """Close the file; later calls raise sqlite3.Error."""
        self._connection.close()

    def _open(self) -> None:
        """Make the tables in a new file, or check what the file is.

        NORMAL: a commit outlives the process at once. What is written reaches the disk some time later, in order, so
        that a power failure takes the last transactions but leaves no broken file (SQLite, "PRAGMA synchronous").
        """
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        version: int = execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                execute(statement)
            execute("INSERT INTO facts VALUES ('moto', ?)", (moto.__version__,))
            execute("COMMIT")
            return
        if version != _VERSION:
            self._reject(f"has format {version}, and this polyhost reads format {_VERSION}", "start the polyhost")
        ((written_by,),) = execute("SELECT value FROM facts WHERE name = 'moto'").fetchall()
        if written_by != moto.__version__:
            self._reject(f"was written with moto {written_by}, and this is moto {moto.__version__}", "install the moto")

    def _reject(self, reason: str, remedy: str) -> None:
        raise StartError(f"the saved state in {self._path} {reason}; {remedy} that wrote it, or choose another --state")
