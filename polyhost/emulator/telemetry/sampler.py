"""What is measured of instances once in a while: loaded models, processor, memory, disk."""

import asyncio
import logging
from typing import Any

from polyhost.emulator.api.control import Control
from polyhost.emulator.telemetry.recorder import Place, Recorder

EVERY_S = 5.0  # AWS publishes these once a minute

logger = logging.getLogger("polyhost.emulator")


class Sampler:
    """Measures every instance in service."""

    def __init__(self, control: Control, recorder: Recorder) -> None:
        self._control = control
        self._recorder = recorder

    async def run(self) -> None:
        while True:
            try:
                await self._sample()
            except Exception:
                logger.exception("the instances could not be measured")
            await asyncio.sleep(EVERY_S)

    async def _sample(self) -> None:
        for endpoint in self._control.endpoints():
            for variant in endpoint.variants:
                for instance in await variant.fleet.snapshot():
                    if instance["status"] != "Stopped":
                        place = Place(endpoint.region, endpoint.name, variant.name, instance["id"])
                        self._measure(place, instance)

    def _measure(self, place: Place, instance: dict[str, Any]) -> None:
        loaded = sum(model["state"] == "loaded" for model in instance["models"])
        self._recorder.measure("LoadedModelCount", loaded, "None", place)
        if instance["cpu_percent"] is not None:
            self._recorder.measure("CPUUtilization", instance["cpu_percent"], "Percent", place)
        for name, used, limit in (
            ("MemoryUtilization", instance["memory_used"], instance["memory_limit"]),
            ("DiskUtilization", instance["disk_used"], instance["disk_limit"]),
        ):
            if used is not None:
                self._recorder.measure(name, 100 * used / limit, "Percent", place)
