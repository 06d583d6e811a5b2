"""Invocations of variants with their metrics, by AWS's names (developer guide, monitoring-cloudwatch)."""

import time
from dataclasses import replace

from polyhost.emulator.api.runtime_errors import error_for_failure, error_for_response
from polyhost.emulator.api.targets import Target
from polyhost.emulator.errors import ModelNotReady
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.interfaces import ContainerResponse, InvocationRequest
from polyhost.emulator.hosting.variants import Variant
from polyhost.emulator.telemetry.recorder import Place, Recorder
from polyhost.model_cache.errors import ModelDataMissingError, ModelServingError


class MeasuredInvocations:
    """Sends invocations to variants, and measures them."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def send(
        self, request: InvocationRequest, endpoint: Endpoint, variant: Variant, start: float
    ) -> ContainerResponse:
        """Return a successful response; `start` is when the invocation began (`perf_counter`). Raises AwsError."""
        place = Place(endpoint.region, endpoint.name, variant.name)
        target = Target(request.target_model, request.target_container)
        try:
            response = await variant.fleet.invoke(request)
        except ModelNotReady:
            self._measure(place, variant, target)
            raise
        except ModelServingError as error:
            # Clients can ask for any name: only models that exist get time series of their own.
            if isinstance(error, ModelDataMissingError):
                target = target._replace(model=None)
            self._measure(place, variant, target, failed=True)
            if request.relay is not None and request.relay.started:
                self._recorder.measure("MidStreamErrors", 1, "None", place)
            raise error_for_failure(error, endpoint) from error
        self._measure(place, variant, target, response, int((time.perf_counter() - start) * 1e6))
        if response.status >= 300:
            raise error_for_response(response, endpoint)
        return response

    def _measure(
        self,
        place: Place,
        variant: Variant,
        target: Target,
        response: ContainerResponse | None = None,
        total_us: int = 0,
        failed: bool = False,
    ) -> None:
        measure, name = self._recorder.measure, target.model or ""
        status = response.status if response is not None else 0
        failed = failed or (response is not None and not 200 <= status < 300)
        measure("InvocationsPerInstance", 1 / max(1, len(variant.fleet.instances)), "None", place, name)
        measure("InvocationModelErrors", float(failed), "None", place)
        if response is not None:
            measure("ModelLatency", response.container_us, "Microseconds", place, name)
        # A container that is called directly has some of its own too (developer guide, multi-container-direct).
        for where in (place, replace(place, container=target.container)) if target.container else (place,):
            measure("Invocations", 1, "None", where, name)
            measure("Invocation4XXErrors", float(400 <= status < 500), "None", where, name)
            measure("Invocation5XXErrors", float(status >= 500), "None", where, name)
            if response is not None:
                measure("OverheadLatency", max(0, total_us - response.container_us), "Microseconds", where, name)
