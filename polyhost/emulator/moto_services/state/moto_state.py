"""Everything of moto's that survives the end of the emulator."""

import logging
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyhost.emulator.errors import ServiceUnavailable, StartError
from polyhost.emulator.moto_services.state.accesses import Accesses, ResourceId, outside_requests, recorded_accesses
from polyhost.emulator.moto_services.state.directories import DIRECTORIES, DirectoriesState
from polyhost.emulator.moto_services.state.object_files import ObjectFiles
from polyhost.emulator.moto_services.state.records import Records
from polyhost.emulator.moto_services.state.s3 import S3State
from polyhost.emulator.moto_services.state.sqs import SqsState

# What services that are called often can change among the directories; others may change all of them.
_CHANGED_BY: dict[str, tuple[str, ...]] = {"s3": (), "sqs": (), "logs": (), "cloudwatch": ("cloudwatch",)}
_READING = frozenset(("GET", "HEAD", "OPTIONS"))

logger = logging.getLogger(__name__)


class MotoState:
    """Saves what a request has changed before the client gets its response."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # what is collected is written before anything newer is collected
        self._records = Records(folder / "services.sqlite")
        self._s3 = S3State(self._records, ObjectFiles(folder / "objects"))
        self._sqs = SqsState(self._records)
        self._directories = DirectoriesState(self._records)

    def restore(self) -> None:
        """Give moto what was saved, and watch what changes from now on. Raises StartError."""
        with recorded_accesses():
            self._s3.watch()
            self._sqs.watch()
            try:
                for part in (self._directories, self._sqs, self._s3):
                    part.restore()
            except (
                pickle.UnpicklingError,
                ArithmeticError,
                AttributeError,
                LookupError,
                TypeError,
                ValueError,
            ) as error:
                raise StartError(
                    f"cannot read the saved state in {self._folder} ({error!r}); restore its files, "
                    "or choose another --state"
                ) from error

    def save(self, service: str, method: str, accesses: Accesses) -> None:
        """Save what a request to a service has changed. Raises ServiceUnavailable."""
        resources = accesses.written if method in _READING and service == "s3" else accesses.all
        with recorded_accesses():  # what saving reads is of no interest
            try:
                self._save(resources | self._take_strays(), _CHANGED_BY.get(service, DIRECTORIES))
            except (OSError, sqlite3.Error) as error:
                logger.error("cannot save in %s what a request to %s changed: %s", self._folder, service, error)
                raise ServiceUnavailable(
                    f"cannot save the change in {self._folder}: {error}; free space there, or see the emulator's log"
                ) from error

    def save_own_change(self, service: str) -> None:
        """Save what the emulator itself has changed in a service. A failure is logged."""
        with suppress(ServiceUnavailable):
            self.save(service, "POST", Accesses())

    def clear(self) -> None:
        """Remove everything: moto was reset. Raises ServiceUnavailable."""
        with self._lock:
            try:
                self._records.clear()
                self._s3.forget()
                self._sqs.forget()
            except (OSError, sqlite3.Error) as error:
                raise ServiceUnavailable(f"cannot clear {self._folder}: {error}") from error

    def close(self) -> None:
        """Close the files; what is saved later fails."""
        with self._lock:
            self._records.close()

    def _save(self, resources: set[ResourceId], directories: tuple[str, ...]) -> None:
        if not resources and not directories:
            return
        self._s3.store_bytes(resources)
        with self._lock:
            updates = [self._s3.update(resources), self._sqs.update(resources)]
            if directories:
                updates.append(self._directories.update(directories))
            self._records.write(change for update in updates for change in update.changes)
            for update in updates:
                update.written()

    @staticmethod
    def _take_strays() -> set[ResourceId]:
        """Return what threads of moto's own have accessed."""
        strays = outside_requests.all
        outside_requests.read -= strays
        outside_requests.written -= strays
        return strays


@contextmanager
def restored_moto_state(folder: Path | None) -> Iterator[MotoState | None]:
    """Restore the state in a folder, if there is one, and save there until the block ends. Raises StartError."""
    if folder is None:
        yield None
        return
    state = MotoState(folder)
    try:
        state.restore()
        yield state
    finally:
        state.close()
