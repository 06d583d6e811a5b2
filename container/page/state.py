"""What the page shows: the container as an endpoint of one instance, in the form of the emulator's state."""

import socket
from collections.abc import Callable
from typing import Any

from polyhost.cgroup import ControlGroup
from polyhost.container.memory.gauge import MemoryGauge
from polyhost.container.model_store.start_loads import StartLoads, StartState
from polyhost.container.model_store.target_models import TargetModels
from polyhost.dashboard.model_snapshot import model_snapshot


class PageState:
    """Describes the models of the store, in memory and on the disk.

    `memory_of` returns what a loaded model takes by its key, or None where that is not known.
    """

    def __init__(
        self, targets: TargetModels, start: StartLoads, front_end: str, memory_of: Callable[[str], int | None]
    ) -> None:
        self._targets = targets
        self._start = start
        self._front_end = front_end
        self._memory_of = memory_of
        self._memory = MemoryGauge(ControlGroup.current())
        self._host = socket.gethostname()

    def describe(self) -> dict[str, Any]:
        """Return the state as JSON."""
        start = self._start.describe()
        failed = [f"{name} was not loaded at the start: {reason}" for name, reason in start["failed"].items()]
        endpoint = {
            "name": str(self._targets.store.prefix),
            "region": self._front_end,
            "status": "InService" if self._start.state is StartState.READY else "Starting",
            "failure_reason": "\n".join(failed) or None,
            "queue": None,
            "variants": [_variant(self._instance())],
        }
        return {"of": "container", "endpoints": [endpoint], "transform_jobs": []}

    def _instance(self) -> dict[str, Any]:
        levels, memory, copies = self._targets.levels(), self._memory.read(), self._targets.copies()
        models = [
            model_snapshot(copy) | {"memory": self._memory_of(copy.key), "pinned": copy.pinned} for copy in copies
        ]
        return {
            "id": self._host,
            "status": "InService",
            "memory_used": memory.limit - memory.available,
            "memory_limit": memory.limit,
            "disk_used": levels.disk_bytes,
            "disk_limit": levels.disk_limit_bytes,
            "cpu_percent": None,
            "outstanding": sum(copy.in_flight + copy.expected for copy in copies),
            "restarts": 0,
            "pid": None,
            "containers": [],
            "models": models,
        }


def _variant(instance: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "",
        "instance_type": None,
        "shadow": False,
        "copies_in_flight": 0,
        "share": 1.0,
        "multi_model": True,
        "containers": [],
        "execution": None,
        "serverless": None,
        "instances": [instance],
    }
