"""Invocations of variants with their metrics, by AWS's names (developer guide, monitoring-cloudwatch)."""

import time
from dataclasses import replace

from polyhost.emulator.api.runtime_errors import error_for_failure, error_for_response
from polyhost.emulator.api.targets import Target
from polyhost.emulator.data_capture.service import DataCapture
from polyhost.emulator.errors import ModelNotReady
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.interfaces import ContainerResponse, InvocationRequest
from polyhost.emulator.hosting.variants import Variant
from polyhost.emulator.telemetry.recorder import Place, Recorder
from polyhost.model_cache.errors import ModelDataMissingError, ModelServingError


class MeasuredInvocations:
    """Sends invocations to variants, measures them, and has them captured."""

    def __init__(self, recorder: Recorder, data_capture: DataCapture) -> None:
        self._recorder = recorder
        self._data_capture = data_capture

    async def send(
        self, request: InvocationRequest, endpoint: Endpoint, variant: Variant, start: float
    ) -> ContainerResponse:
        """Return a successful response; `start` is when the invocation began (`perf_counter`). Raises AwsError."""
        place = Place(endpoint.region, endpoint.name, variant.name)
        target = Target(request.target_model, request.target_container)
        capture = self._data_capture.begin(place, variant.spec.capture, request)
        try:
            response = await variant.fleet.invoke(request if capture is None else capture.request)
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
        if capture is not None:
            capture.finish(response)
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
        config = variant.config
        if variant.spec.serverless is None:  # others have neither (developer guide, serverless-endpoints-monitoring)
            measure("InvocationsPerInstance", 1 / max(1, variant.fleet.instance_count), "None", place, name, config)
            measure("InvocationModelErrors", float(failed), "None", place, "", config)
        if response is not None:
            measure("ModelLatency", response.container_us, "Microseconds", place, name, config)
        # A container that is called directly has some of its own too (developer guide, multi-container-direct).
        for where in (place, replace(place, container=target.container)) if target.container else (place,):
            measure("Invocations", 1, "None", where, name, config)
            measure("Invocation4XXErrors", float(400 <= status < 500), "None", where, name, config)
            measure("Invocation5XXErrors", float(status >= 500), "None", where, name, config)
            if response is not None:
                overhead = max(0, total_us - response.container_us)
                measure("OverheadLatency", overhead, "Microseconds", where, name, config)
