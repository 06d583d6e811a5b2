"""The analysis of one execution: files from S3, a process that does the statistics, files to S3."""

import asyncio
import json
import math
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from polyhost.emulator.data_capture.service import DataCapture
from polyhost.emulator.errors import EmulatorError, StorageError
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.monitoring.spec import MonitorSpec, Window
from polyhost.emulator.object_storage import ObjectStorage

_COMMAND = (sys.executable, "-P", "-m", "polyhost.drift.job")
_RESULT = "result.json"
_MOST_ERROR_CHARS = 900  # a FailureReason has 1,024
NO_DATA = "Job inputs had no data"


class MonitoringError(EmulatorError):
    """An execution that failed; the message is its FailureReason."""


class Analysis:
    """Runs monitoring jobs. Files lie below `folder` meanwhile."""

    def __init__(self, storage: ObjectStorage, data_capture: DataCapture, folder: Path) -> None:
        self._storage = storage
        self._data_capture = data_capture
        self._folder = folder

    async def monitor(self, endpoint: Endpoint, spec: MonitorSpec, window: Window, output: str) -> dict[str, Any]:
        """Analyse what was captured in a window, and return the job's result. Raises MonitoringError."""
        await self._data_capture.flush(endpoint.region, endpoint.name)
        with tempfile.TemporaryDirectory(prefix="monitoring-", dir=self._folder) as name:
            folder = Path(name)
            try:
                await self._fetch_captures(endpoint, window, folder / "captures")
                (folder / "baseline").mkdir()
                for uri, file in ((spec.statistics, "statistics.json"), (spec.constraints, "constraints.json")):
                    if uri is not None:
                        await self._storage.download(endpoint.region, uri, folder / "baseline" / file)
                if spec.ground_truth is not None:
                    await self._fetch_ground_truth(endpoint.region, spec.ground_truth, window, folder / "ground-truth")
                settings = {
                    "kind": spec.type,
                    "start": window.start,
                    "end": window.end,
                    "features": spec.features,
                    "inference": spec.inference,
                    "problem": spec.problem,
                }
                result = await _run(folder, settings)
                await self._upload(endpoint.region, folder / "output", output, spec.kms_key_id)
            except StorageError as error:
                raise MonitoringError(f"ClientError: {error}") from error
        return result

    async def baseline(
        self, region: str, dataset: str, settings: Mapping[str, Any], output: str, kms_key_id: str | None
    ) -> None:
        """Write the baseline of a data set, an object or the only one below a prefix. Raises MonitoringError."""
        with tempfile.TemporaryDirectory(prefix="baseline-", dir=self._folder) as name:
            folder = Path(name)
            try:
                found = [item for item in await self._storage.list(region, dataset) if not item.uri.endswith("/")]
                if len(found) != 1:
                    raise MonitoringError(f"there are {len(found)} objects at {dataset}; a baseline has one data set")
                (folder / "dataset").mkdir()
                await self._storage.download(region, found[0].uri, folder / "dataset" / Path(found[0].uri).name)
                await _run(folder, settings)
                await self._upload(region, folder / "output", output, kms_key_id)
            except StorageError as error:
                raise MonitoringError(f"ClientError: {error}") from error

    async def _fetch_captures(self, endpoint: Endpoint, window: Window, folder: Path) -> None:
        """Download the files that may have calls of the window; others are in them too."""
        folder.mkdir()
        settings = {variant.spec.capture for variant in endpoint.variants if not variant.spec.shadow}
        prefixes = {f"{item.destination.rstrip('/')}/{endpoint.name}/" for item in settings if item is not None}
        hours = _hours(window)
        for prefix in sorted(prefixes):
            for item in await self._storage.list(endpoint.region, prefix):
                variant, _, rest = item.uri.removeprefix(prefix).partition("/")
                if rest[: len(hours[0])] in hours and rest.endswith(".jsonl") and _latest(rest) >= window.start:
                    path = folder / variant / Path(rest).name
                    path.parent.mkdir(exist_ok=True)
                    await self._storage.download(endpoint.region, item.uri, path)
        if not any(folder.iterdir()):
            raise MonitoringError(NO_DATA)

    async def _fetch_ground_truth(self, region: str, uri: str, window: Window, folder: Path) -> None:
        """Download what is known of the window's hours."""
        folder.mkdir()
        for hour in _hours(window):
            for item in await self._storage.list(region, f"{uri.rstrip('/')}/{hour}/"):
                await self._storage.download(
                    region, item.uri, folder / f"{hour.replace('/', '-')}-{Path(item.uri).name}"
                )
        if not any(folder.iterdir()):
            raise MonitoringError("No ground truth data was found")

    async def _upload(self, region: str, folder: Path, output: str, kms_key_id: str | None) -> None:
        for file in sorted(folder.iterdir()):
            if file.name != _RESULT:
                uri = f"{output.rstrip('/')}/{file.name}"
                await self._storage.upload(region, uri, file.read_bytes(), "application/json", kms_key_id)


async def _run(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    (folder / "job.json").write_text(json.dumps(settings))
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, str(folder), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, errors = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        reason = errors.decode(errors="replace").strip()[-_MOST_ERROR_CHARS:]
        if reason == NO_DATA:
            raise MonitoringError(reason)
        raise MonitoringError(f"AlgorithmError: {reason or f'exit status {process.returncode}'}")
    result: dict[str, Any] = json.loads((folder / "output" / _RESULT).read_text())
    return result


def _latest(path: str) -> float:
    """Return the time of the last call in a file of captures, which its name has; infinity if it has another name."""
    try:
        at = datetime.strptime(path[: len("yyyy/mm/dd/hh/mm-ss-mmm")], "%Y/%m/%d/%H/%M-%S-%f")
    except ValueError:
        return math.inf
    return at.replace(tzinfo=UTC).timestamp()


def _hours(window: Window) -> list[str]:
    """Return the folders of the hours that a window touches."""
    at, end = datetime.fromtimestamp(window.start, UTC), datetime.fromtimestamp(window.end, UTC)
    hours = []
    while at.replace(minute=0, second=0, microsecond=0) <= end:
        hours.append(at.strftime("%Y/%m/%d/%H"))
        at += timedelta(hours=1)
    return hours
