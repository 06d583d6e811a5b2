"""The inspection API below /_polyhost: the state of endpoints and jobs, events, and faults on demand, as JSON."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from polyhost.dashboard.server_sent import CONTENT_TYPE, STATE_PERIOD_S, server_sent_event
from polyhost.emulator.alarms.service import Alarms
from polyhost.emulator.async_inference.endpoint_queue import QueueSnapshot
from polyhost.emulator.batch_transform.job import TransformJob
from polyhost.emulator.data_capture.service import DataCapture
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.faults import ERRORS, Fault, FaultKind, Faults
from polyhost.emulator.hosting.serverless.fleet import ServerlessFleet
from polyhost.emulator.hosting.traffic import share
from polyhost.emulator.telemetry.curves import Curves
from polyhost.emulator.telemetry.recorder import Event, Recorder
from polyhost.emulator.ui.alarm_state import alarm_states
from polyhost.emulator.ui.capture_state import capture_state
from polyhost.emulator.ui.scaling_state import scaling_states

_SHOWN_JOBS = 50  # the newest


class StateApi:
    """Routes for the dashboard, the command line and tests.

    `endpoints` and `jobs` return the endpoints and transform jobs that there are, `queue_of` the queue of an endpoint
    that is asynchronous, `functions` what describes functions and APIs.
    """

    def __init__(
        self,
        endpoints: Callable[[], Sequence[Endpoint]],
        queue_of: Callable[[Endpoint], QueueSnapshot | None],
        jobs: Callable[[], Sequence[TransformJob]],
        alarms: Alarms,
        recorder: Recorder,
        curves: Curves,
        captures: DataCapture,
        faults: Faults,
        functions: Callable[[], dict[str, Any]],
    ) -> None:
        self._endpoints = endpoints
        self._queue_of = queue_of
        self._jobs = jobs
        self._alarms = alarms
        self._recorder = recorder
        self._curves = curves
        self._captures = captures
        self._faults = faults
        self._functions = functions
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End the streams, before what they show is taken down: the emulator stops."""
        self._closing.set()

    def routes(self) -> list[Route]:
        """Return the routes of state, events and faults."""
        return [
            Route("/_polyhost/state", self._get_state),
            Route("/_polyhost/events", self._get_events),
            Route("/_polyhost/curves", self._get_curves),
            Route("/_polyhost/captures", self._get_captures),
            Route("/_polyhost/faults", self._get_faults, methods=["GET"]),
            Route("/_polyhost/faults", self._add_fault, methods=["POST"]),
            Route("/_polyhost/faults", self._clear_faults, methods=["DELETE"]),
        ]

    async def _state(self) -> dict[str, Any]:
        endpoints = await asyncio.gather(*(self._endpoint_state(endpoint) for endpoint in self._endpoints()))
        jobs = await asyncio.gather(*(_job_state(job) for job in self._jobs()[:_SHOWN_JOBS]))
        return {
            "of": "emulator",
            "endpoints": list(endpoints),
            "transform_jobs": list(jobs),
            "alarms": alarm_states(self._alarms),
            "scaling_activities": scaling_states(endpoint.region for endpoint in self._endpoints()),
            **self._functions(),
        }

    async def _endpoint_state(self, endpoint: Endpoint) -> dict[str, Any]:
        queue = self._queue_of(endpoint)
        return await _endpoint_state(endpoint) | {"queue": asdict(queue) if queue is not None else None}

    async def _get_state(self, request: Request) -> Response:
        return JSONResponse(await self._state())

    async def _get_events(self, request: Request) -> Response:
        """Stream server-sent events (HTML standard, 9.2): `state` every second, `event` as events occur."""
        if self._closing.is_set():
            return Response("the emulator stops\n", 503, media_type="text/plain")
        return StreamingResponse(self._stream(), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    async def _get_curves(self, request: Request) -> Response:
        """Return the throughput and latency of the endpoint that the query names."""
        return JSONResponse(self._curves.describe(*_named_endpoint(request)))

    async def _get_captures(self, request: Request) -> Response:
        """Return the latest captured invocations of the endpoint that the query names."""
        captures = self._captures.recent(*_named_endpoint(request))
        return JSONResponse({"captures": [capture_state(capture) for capture in captures]})

    async def _stream(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        for event in self._recorder.events:
            queue.put_nowait(event)
        with self._recorder.following(queue.put_nowait):
            while not self._closing.is_set():
                while not queue.empty():
                    yield server_sent_event("event", asdict(queue.get_nowait()))
                yield server_sent_event("state", await self._state())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), STATE_PERIOD_S)

    async def _get_faults(self, request: Request) -> Response:
        return JSONResponse([asdict(fault) for fault in self._faults.pending])

    async def _add_fault(self, request: Request) -> Response:
        # A browser sends other web pages' requests of this content type only after a preflight, which is rejected.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"message": "a fault must be sent as application/json"}, 415)
        try:
            fault = _parse_fault(await request.json())
        except (TypeError, ValueError) as error:
            return JSONResponse({"message": str(error)}, 400)
        self._faults.add(fault)
        return JSONResponse(asdict(fault), 201)

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)


def _named_endpoint(request: Request) -> tuple[str, str]:
    return request.query_params.get("region", ""), request.query_params.get("endpoint", "")


def _parse_fault(members: Any) -> Fault:
    """Return the fault that a request describes. Raises ValueError or TypeError, with the reason."""
    if not isinstance(members, dict) or members.get("kind") not in list(FaultKind):
        raise ValueError(f"a fault must be an object whose kind is one of {', '.join(FaultKind)}")
    numbers = {"count": (int, 1), "skip": (int, 0), "seconds": (float, 0)}
    words = ("kind", "code", "endpoint", "variant", "model")
    for name, value in members.items():
        if name not in (*numbers, *words):
            raise ValueError(f"unknown member {name!r}; a fault has {', '.join((*words, *numbers))}")
        if name in words:
            valid = isinstance(value, str)
        else:  # True is an int, and Python's reader of JSON accepts NaN and Infinity
            kind, least = numbers[name]
            valid = type(value) in (int, kind) and least <= value < math.inf
        if not valid:
            raise ValueError(f"{name} cannot be {value!r}")
    code = members.get("code", "")
    if (members["kind"] == FaultKind.ERROR or code) and (members["kind"] != FaultKind.ERROR or code not in ERRORS):
        raise ValueError(f"a fault of kind error must have one of the codes {', '.join(ERRORS)}; others have none")
    return Fault(**{**members, "kind": FaultKind(members["kind"])})


async def _endpoint_state(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "region": endpoint.region,
        "status": endpoint.status,
        "failure_reason": endpoint.failure_reason,
        "variants": [
            {
                "name": variant.name,
                "instance_type": variant.spec.instance_type,
                "shadow": variant.spec.shadow,
                "copies_in_flight": variant.copies.in_flight,
                "config": variant.config,
                "started": variant.started,
                "share": generation.share * share(variant, generation.variants),
                "multi_model": any(container.multi_model for container in variant.spec.containers),
                "containers": [container.name for container in variant.spec.containers],
                "execution": variant.spec.execution,
                "serverless": variant.fleet.summary() if isinstance(variant.fleet, ServerlessFleet) else None,
                "instances": await variant.fleet.snapshot(),
            }
            for generation in endpoint.generations.all
            for variant in generation.variants
        ],
        "deployment": endpoint.rollout.summary() if endpoint.rollout is not None else None,
    }


async def _job_state(job: TransformJob) -> dict[str, Any]:
    return {
        "name": job.name,
        "region": job.region,
        "status": job.status,
        "failure_reason": job.failure_reason,
        "started": job.started,
        "ended": job.ended,
        **asdict(job.progress),
        "instance_type": job.hosting.instance_type,
        "instances": await job.snapshot(),
    }
