"""Functions' logs in CloudWatch Logs: group /aws/lambda/NAME, a stream for each environment."""

import logging
from collections import defaultdict

from polyhost.emulator.functions.spec import FunctionSpec
from polyhost.emulator.telemetry.log_streams import LogEvent, LogStream, LogStreams, log_event
from polyhost.emulator.telemetry.periodic import run_every

_PERIOD_S = 0.5

logger = logging.getLogger(__name__)


class FunctionLogs:
    """Publishes lines, in order. `url` is the emulator's own."""

    def __init__(self, url: str) -> None:
        self._streams = LogStreams(url)
        self._pending: dict[LogStream, list[LogEvent]] = defaultdict(list)

    async def run(self) -> None:
        """Publish until cancelled."""
        await run_every(_PERIOD_S, self._publish)

    def add(self, spec: FunctionSpec, stream: str, line: str) -> None:
        """Publish a line soon."""
        if line:  # PutLogEvents rejects an empty message
            self._pending[LogStream(spec.region, spec.log_group, stream)].append(log_event(line))

    def _publish(self) -> None:
        pending, self._pending = self._pending, defaultdict(list)
        for stream, events in list(pending.items()):  # a copy: the event loop may still be adding the last one
            try:
                self._streams.put(stream, events)
            except Exception:  # must not keep the lines of other functions back
                logger.exception("cannot publish the lines of %s", stream.group)
