"""The inspection API below /_polyhost: the state of endpoints, events, and faults on demand, as JSON."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.faults import ERRORS, Fault, FaultKind, Faults
from polyhost.emulator.hosting.traffic import share
from polyhost.emulator.telemetry.recorder import Event, Recorder

_STATE_PERIOD_S = 1.0


class StateApi:
    """Routes for the dashboard, the command line and tests. `endpoints` returns the endpoints that there are."""

    def __init__(self, endpoints: Callable[[], Sequence[Endpoint]], recorder: Recorder, faults: Faults) -> None:
        self._endpoints = endpoints
        self._recorder = recorder
        self._faults = faults

    def routes(self) -> list[Route]:
        """Return the routes of state, events and faults."""
        return [
            Route("/_polyhost/state", self._get_state),
            Route("/_polyhost/events", self._get_events),
            Route("/_polyhost/faults", self._get_faults, methods=["GET"]),
            Route("/_polyhost/faults", self._add_fault, methods=["POST"]),
            Route("/_polyhost/faults", self._clear_faults, methods=["DELETE"]),
        ]

    async def _state(self) -> dict[str, Any]:
        endpoints = await asyncio.gather(*(_endpoint_state(endpoint) for endpoint in self._endpoints()))
        return {"endpoints": list(endpoints)}

    async def _get_state(self, request: Request) -> Response:
        return JSONResponse(await self._state())

    async def _get_events(self, request: Request) -> Response:
        """Stream server-sent events (HTML standard, 9.2): `state` every second, `event` as events occur."""
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _stream(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        for event in self._recorder.events:
            queue.put_nowait(event)
        with self._recorder.following(queue.put_nowait):
            while True:
                while not queue.empty():
                    yield _server_sent_event("event", asdict(queue.get_nowait()))
                yield _server_sent_event("state", await self._state())
                await asyncio.sleep(_STATE_PERIOD_S)

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
                "share": share(variant, endpoint.variants),
                "multi_model": any(container.multi_model for container in variant.spec.containers),
                "containers": [container.name for container in variant.spec.containers],
                "execution": variant.spec.execution,
                "instances": await variant.fleet.snapshot(),
            }
            for variant in endpoint.variants
        ],
    }


def _server_sent_event(name: str, content: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"
