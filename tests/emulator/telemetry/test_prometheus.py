"""The numbers for Prometheus, read with its own parser."""

from collections.abc import Callable

import httpx
import pytest
from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families

from tests.container_process import wait_for
from tests.emulator.conftest import REGION, Local


def samples(local: Local, endpoint: str) -> dict[tuple[str, str], float]:
    """By name and model."""
    answer = httpx.get(f"{local.emulator.url}/_polyhost/metrics", trust_env=False)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, sample.labels.get("model", "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if (sample.labels.get("region"), sample.labels.get("endpoint")) == (REGION, endpoint)
    }


def test_what_is_gone_or_never_was_has_no_series(local: Local) -> None:
    local.upload("passing", "a")
    local.host("passing")
    local.ask("passing", "a")
    for number in range(3):
        with pytest.raises(ClientError):
            local.ask("passing", f"none-{number}")
    wait_for(lambda: ("polyhost_loaded_model_count", "") in samples(local, "passing"), "the sampler")
    found = samples(local, "passing")
    assert {model for _, model in found} == {"a.tar.gz", ""}
    assert found["polyhost_invocations_total", ""] == 3
    local.sagemaker.delete_endpoint(EndpointName="passing")
    local.wait("passing", "endpoint_deleted")
    assert samples(local, "passing") == {}


def test_each_model_has_series_of_its_own(local: Local, hosted: Callable[..., str]) -> None:
    endpoint = hosted("a", 'quote"and\\slash')
    for model in ("a", "a", 'quote"and\\slash'):
        local.ask(endpoint, model)
    found = samples(local, endpoint)
    odd = 'quote"and\\slash.tar.gz'
    assert found["polyhost_invocations_total", "a.tar.gz"] == 2
    assert found["polyhost_invocations_total", odd] == 1
    assert found["polyhost_model_cache_hits_total", "a.tar.gz"] == 1
    assert found["polyhost_model_latency_seconds_count", "a.tar.gz"] == 2
    assert found["polyhost_model_loading_seconds_count", odd] == 1
    assert 0 < found["polyhost_model_latency_seconds_sum", "a.tar.gz"] < 60
