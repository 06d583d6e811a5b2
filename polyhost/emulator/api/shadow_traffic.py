"""Copies of invocations for shadow variants, whose responses nobody gets (developer guide, model-shadow-deployment)."""

import logging
import textwrap
import time
from collections.abc import Mapping
from dataclasses import replace

from polyhost.emulator.api.measured_invocations import MeasuredInvocations
from polyhost.emulator.api.targets import Target
from polyhost.emulator.errors import AwsError
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.faults import FaultKind, Faults
from polyhost.emulator.hosting.interfaces import InvocationRequest
from polyhost.emulator.hosting.shadow_copies import MessageLimit
from polyhost.emulator.hosting.traffic import choose_shadow
from polyhost.emulator.hosting.variants import Variant
from polyhost.emulator.telemetry.recorder import SHADOW_COPIES_DROPPED, EventKind, Place, Recorder

_MAX_FAILURE_CHARS = 300

logger = logging.getLogger(__name__)


class _Discarded:
    """Receives a streamed response that nobody gets."""

    def __init__(self) -> None:
        self.started = False

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True

    async def send(self, chunk: bytes) -> None:
        """Drop it."""


class ShadowTraffic:
    """Sends copies in the background. What becomes of one is measured and logged, and never reaches the caller."""

    def __init__(self, invocations: MeasuredInvocations, recorder: Recorder, faults: Faults) -> None:
        self._invocations = invocations
        self._recorder = recorder
        self._faults = faults

    def copy(self, request: InvocationRequest, endpoint: Endpoint) -> None:
        """Send a copy to the endpoint's shadow variant, if it has one and this invocation is in its share."""
        shadow = choose_shadow(endpoint.variants)
        if shadow is None:
            return
        size = len(request.body)
        if shadow.copies.has_room(size):
            copied = replace(request, relay=_Discarded() if request.relay is not None else None)
            shadow.copies.start(self._send(copied, endpoint, shadow), size)
            return
        self._recorder.measure(SHADOW_COPIES_DROPPED, 1, "None", Place(endpoint.region, endpoint.name, shadow.name))
        message = "is slower than the traffic: too many copies are on their way, and this one is dropped"
        self._report(endpoint, shadow, shadow.copies.drops, message)

    async def _send(self, request: InvocationRequest, endpoint: Endpoint, shadow: Variant) -> None:
        try:
            if fault := self._faults.take(FaultKind.ERROR, endpoint.name, shadow.name, by_name=True):
                raise fault.error()
            Target(request.target_model, request.target_container).check(endpoint.name, shadow.spec)
            await self._invocations.send(request, endpoint, shadow, time.perf_counter())
        except AwsError as error:
            text = f"failed on a copy with {error.code}"
            if error.message:  # it may quote the whole response
                text = textwrap.shorten(f"{text}: {error.message}", _MAX_FAILURE_CHARS)
            self._report(endpoint, shadow, shadow.copies.failures, text)
        except Exception:
            logger.exception("a copy for shadow variant %s of endpoint %s failed", shadow.name, endpoint.name)

    def _report(self, endpoint: Endpoint, shadow: Variant, limit: MessageLimit, message: str) -> None:
        if not limit.due():
            return
        text = f"shadow variant {shadow.name} {message}{limit.describe()}"
        logger.warning("endpoint %s: %s", endpoint.name, text)
        self._recorder.event(EventKind.FAILED, Place(endpoint.region, endpoint.name, shadow.name), text)
