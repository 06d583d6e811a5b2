"""What the emulator tells of itself, below /_polyhost: state, events, faults."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from polyhost.emulator.api.control import Control
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.faults import ERRORS, Fault, Faults, Kind
from polyhost.emulator.telemetry.recorder import Event, Recorder

STATE_EVERY_S = 1.0


class Admin:
    """Routes for the page, the command line and tests."""

    def __init__(self, control: Control, recorder: Recorder, faults: Faults) -> None:
        self._control = control
        self._recorder = recorder
        self._faults = faults

    def routes(self) -> list[Route]:
        return [
            Route("/_polyhost/state", self._get_state),
            Route("/_polyhost/events", self._get_events),
            Route("/_polyhost/faults", self._get_faults, methods=["GET"]),
            Route("/_polyhost/faults", self._add_fault, methods=["POST"]),
            Route("/_polyhost/faults", self._clear_faults, methods=["DELETE"]),
        ]

    async def state(self) -> dict[str, Any]:
        endpoints = await asyncio.gather(*(_about(endpoint) for endpoint in self._control.endpoints()))
        return {"endpoints": list(endpoints)}

    async def _get_state(self, request: Request) -> Response:
        return JSONResponse(await self.state())

    async def _get_events(self, request: Request) -> Response:
        """Server-sent events (HTML standard, 9.2): `state` every second, `event` as things happen."""
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _stream(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        for event in self._recorder.events:
            queue.put_nowait(event)
        with self._recorder.following(queue.put_nowait):
            while True:
                while not queue.empty():
                    yield _message("event", asdict(queue.get_nowait()))
                yield _message("state", await self.state())
                await asyncio.sleep(STATE_EVERY_S)

    async def _get_faults(self, request: Request) -> Response:
        return JSONResponse([asdict(fault) for fault in self._faults.pending])

    async def _add_fault(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"message": "a fault is sent as application/json"}, 415)
        try:
            fault = _fault(await request.json())
        except (TypeError, ValueError) as error:
            return JSONResponse({"message": str(error)}, 400)
        self._faults.add(fault)
        return JSONResponse(asdict(fault), 201)

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)


def _fault(members: Any) -> Fault:
    """Raises ValueError or TypeError, with what is wrong."""
    if not isinstance(members, dict) or members.get("kind") not in get_args(Kind):
        raise ValueError(f"a fault is an object whose kind is one of {', '.join(get_args(Kind))}")
    numbers = {"count": (int, 1), "skip": (int, 0), "seconds": (float, 0)}
    words = ("kind", "code", "endpoint", "variant", "model")
    for name, value in members.items():
        if name not in (*numbers, *words):
            raise ValueError(f"a fault has no {name!r}; it has {', '.join((*words, *numbers))}")
        if name in words:
            fits = isinstance(value, str)
        else:  # True is an int, and JSON as Python reads it has NaN and Infinity
            kind, least = numbers[name]
            fits = type(value) in (int, kind) and least <= value < math.inf
        if not fits:
            raise ValueError(f"{name} cannot be {value!r}")
    code = members.get("code", "")
    if (members["kind"] == "error" or code) and (members["kind"] != "error" or code not in ERRORS):
        raise ValueError(f"a fault of kind error, and no other, has a code of {', '.join(ERRORS)}")
    return Fault(**members)


async def _about(endpoint: Endpoint) -> dict[str, Any]:
    total = sum(variant.weight for variant in endpoint.variants)
    return {
        "name": endpoint.name,
        "region": endpoint.region,
        "status": endpoint.status,
        "failure_reason": endpoint.failure_reason,
        "variants": [
            {
                "name": variant.name,
                "instance_type": variant.spec.instance_type,
                "share": variant.weight / total if total else 1 / len(endpoint.variants),
                "multi_model": variant.spec.container.multi_model,
                "instances": await variant.fleet.snapshot(),
            }
            for variant in endpoint.variants
        ],
    }


def _message(kind: str, content: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n"
