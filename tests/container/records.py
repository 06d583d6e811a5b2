"""Records of a model and a worker without a process, for tests of the fork server's parts."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polyhost.container.control_protocol import ModelRef
from polyhost.container.forkserver.connection_copy import ConnectionCopy
from polyhost.container.forkserver.log_ends import LogReaders, LogWriters
from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.worker.status_page import StatusPage


@dataclass
class RecordedWorker:
    """A worker's record, with the front end's end of its connection and the worker's ends of its log."""

    record: WorkerRecord
    front_end: socket.socket
    writers: LogWriters


def hosted_model(folder: Path) -> HostedModel:
    """Return a model whose files and output files are below the folder."""
    return HostedModel(
        key=1,
        ref=ModelRef("m", str(folder), "handle.py"),
        temp_dir=folder / "temp",
        io_dir=str(folder / "io"),
        response_timeout_s=60,
        framework="bare",
    )


@contextmanager
def recorded_worker(model: HostedModel) -> Iterator[RecordedWorker]:
    """Record a worker of the model; everything is closed at the end of the block."""
    front_end, connection = socket.socketpair()
    front_end.settimeout(30)
    logs, writers = LogReaders.with_writers()
    page = StatusPage.create()
    record = WorkerRecord(
        sequence=1,
        model=model,
        connection_number=7,
        connection=ConnectionCopy(connection),
        status=StatusPage(page),
        logs=logs,
    )
    os.close(page)
    with front_end:
        yield RecordedWorker(record, front_end, writers)
    for descriptor in writers:
        os.close(descriptor)
    if not record.is_released:
        record.connection.close(hang_up=True)
        logs.close()
        record.status.close()
