"""Metrics for Prometheus, read with its own parser."""

from collections.abc import Callable

import httpx
import pytest
from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families

from tests.emulator.async_inference.harness import async_endpoint
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import wait_for


def samples(local: Local, endpoint: str) -> dict[tuple[str, str], float]:
    """Return the endpoint's samples by name and model."""
    response = httpx.get(f"{local.emulator.url}/_polyhost/metrics", trust_env=False)
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, sample.labels.get("model", "")): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if (sample.labels.get("region"), sample.labels.get("endpoint")) == (REGION, endpoint)
    }


def test_missing_models_and_deleted_endpoints_have_no_series(local: Local) -> None:
    local.upload("passing", "a")
    local.host("passing")
    local.invoke("passing", "a")
    for number in range(3):
        with pytest.raises(ClientError):
            local.invoke("passing", f"none-{number}")
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
        local.invoke(endpoint, model)
    found = samples(local, endpoint)
    odd = 'quote"and\\slash.tar.gz'
    assert found["polyhost_invocations_total", "a.tar.gz"] == 2
    assert found["polyhost_invocations_total", odd] == 1
    assert found["polyhost_model_cache_hits_total", "a.tar.gz"] == 1
    assert found["polyhost_model_latency_seconds_count", "a.tar.gz"] == 2
    assert found["polyhost_model_loading_seconds_count", odd] == 1
    assert 0 < found["polyhost_model_latency_seconds_sum", "a.tar.gz"] < 60


def test_an_asynchronous_endpoint_has_series_of_its_backlog(local: Local) -> None:
    with async_endpoint(local, "async-scraped") as endpoint:
        endpoint.answer(endpoint.invoke())
        wait_for(lambda: ("polyhost_async_invocations_total", "") in samples(local, endpoint.name), "the counter", 60)
        wait_for(lambda: ("polyhost_async_backlog", "") in samples(local, endpoint.name), "the sampler", 60)
        found = samples(local, endpoint.name)
        assert found["polyhost_async_invocations_total", ""] == 1
        assert 0 < found["polyhost_async_processing_seconds_sum", ""] < 60
        assert found["polyhost_async_backlog_seconds_count", ""] == 1
        assert found["polyhost_async_oldest_request_seconds", ""] >= 0
    assert samples(local, endpoint.name) == {}
