"""How a job's requests are sent: as the job says, else as the container says, else by SageMaker's defaults."""

import json
from collections.abc import Mapping
from typing import Any

from polyhost.emulator.batch_transform.spec import BatchStrategy, Parameters, Requested
from polyhost.emulator.hosting.instance import Instance
from polyhost.model_cache.errors import ModelServingError

# botocore, CreateTransformJob; the strategy is that of the SDK's local mode.
_DEFAULTS = Parameters(concurrency=1, payload_mb=6, strategy=BatchStrategy.MULTI_RECORD)


async def parameters_for(requested: Requested, instance: Instance) -> Parameters:
    """Return the parameters; the first container of a pipeline is asked for those that the job does not set."""
    answer = await _ask(instance)
    concurrency = requested.concurrency or _number(answer, "MaxConcurrentTransforms", 1) or _DEFAULTS.concurrency
    payload_mb = requested.payload_mb
    if payload_mb is None:
        payload_mb = _number(answer, "MaxPayloadInMB", 0)
    strategy = requested.strategy or _strategy(answer) or _DEFAULTS.strategy
    return Parameters(concurrency, _DEFAULTS.payload_mb if payload_mb is None else payload_mb, strategy)


async def _ask(instance: Instance) -> Mapping[str, Any]:
    """Return what the container answers; the route is optional, and an answer that makes no sense counts as none."""
    try:
        response = await instance.containers[0].keeper.client.execution_parameters()
        answer = json.loads(response.body) if response.status == 200 else {}
    except (ModelServingError, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _number(answer: Mapping[str, Any], name: str, least: int) -> int | None:
    value = answer.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= least else None


def _strategy(answer: Mapping[str, Any]) -> BatchStrategy | None:
    value = answer.get("BatchStrategy")
    return BatchStrategy(value) if value in list(BatchStrategy) else None
