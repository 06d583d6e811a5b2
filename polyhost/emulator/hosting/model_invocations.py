"""An invocation of a model in a multi-model container: loaded first, if need be."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from polyhost.emulator.errors import ModelNotReady
from polyhost.emulator.hosting.container_keeper import ContainerKeeper
from polyhost.emulator.hosting.interfaces import ContainerResponse, InvocationRequest
from polyhost.model_cache.cache import ModelCache
from polyhost.model_cache.errors import ContainerGoneError

_Measure = Callable[[str, float, str, str], None]  # gets metric, value, unit and model


async def invoke_model(
    cache: ModelCache, keeper: ContainerKeeper, request: InvocationRequest, measure: _Measure
) -> ContainerResponse:
    """Return the container's response for the request's target model. Raises ModelNotReady and ModelServingError."""
    name = request.target_model
    assert name is not None
    waited_us, hit = 0, True
    for attempt in (1, 2):
        copy = cache.loaded(name)
        if copy is None:
            hit = False
            waited_us += await _wait_for(cache, name, request.timeout_s)
            copy = cache.loaded(name)
            if copy is None:  # evicted before its turn
                continue
        cache.acquire(copy)
        try:
            response = await keeper.client.invoke(
                copy.key, request.body, request.headers, request.timeout_s, request.relay
            )
        finally:
            cache.release(copy)
        if response.status == 404 and attempt == 1 and not await keeper.client.is_loaded(copy.key):
            cache.discard(copy)
            continue
        copy.usage.latencies_ms.append(response.container_us / 1e3)
        copy.usage.errors += response.status >= 400
        measure("ModelCacheHit", float(hit), "None", name)
        if not hit:
            measure("ModelLoadingWaitTime", waited_us, "Microseconds", name)
        return replace(response, waited_us=waited_us, cache_hit=hit)
    raise ContainerGoneError(f"{name} was unloaded as often as it was loaded")


async def _wait_for(cache: ModelCache, name: str, timeout_s: float) -> int:
    """Return the time in microseconds that it took until the model was loaded."""
    start = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            await cache.load(name)
    except TimeoutError:
        raise ModelNotReady(
            f"Model {name} is not ready for inference: it is still being downloaded or loaded. Try again."
        ) from None
    return int((time.monotonic() - start) * 1e6)
