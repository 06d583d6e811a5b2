"""Web pages in the user's browser can reach 127.0.0.1 too, and must not control the emulator."""

import httpx
import pytest

from polyhost.emulator.api.access import AccessPolicy
from polyhost.emulator.errors import AccessDenied
from tests.emulator.conftest import Local

FOREIGN = {"Origin": "https://evil.example"}
TARGET = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}


def _allowed(policy: AccessPolicy, host: str, origin: str | None = None) -> bool:
    try:
        policy.check({b"host": host.encode()} | ({b"origin": origin.encode()} if origin is not None else {}))
    except AccessDenied:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:4566",
        "localhost:4566",
        "[::1]:4566",
        "bucket.s3.localhost:4566",
        "host.docker.internal:4566",
        "runtime.sagemaker.us-east-1.amazonaws.com",
        "bucket.s3.amazonaws.com",
        "emulator.example:4566",
    ],
)
def test_programs_and_the_dashboard_are_allowed(host: str) -> None:
    policy = AccessPolicy("emulator.example", loopback=True)
    assert _allowed(policy, host)
    assert _allowed(policy, host, f"http://{host}")
    assert not _allowed(policy, host, "http://evil.example")
    assert not _allowed(policy, host, "null")


@pytest.mark.parametrize("host", ["evil.example:4566", "localhost.evil.example", "evillocalhost", "", "[", "a]b"])
def test_foreign_host_name_is_rejected_on_loopback(host: str) -> None:
    assert not _allowed(AccessPolicy("127.0.0.1", loopback=True), host)
    assert not _allowed(AccessPolicy("127.0.0.1", loopback=True), host, f"http://{host}")


def test_any_host_name_is_allowed_beyond_loopback_but_no_origin() -> None:
    policy = AccessPolicy("0.0.0.0", loopback=False)
    assert _allowed(policy, "emulator:4566")
    assert not _allowed(policy, "emulator:4566", "http://emulator:4566")
    assert _allowed(policy, "192.0.2.7:4566", "http://192.0.2.7:4566")


def test_every_part_of_the_emulator_rejects_other_web_pages(local: Local) -> None:
    with httpx.Client(base_url=local.emulator.url, trust_env=False) as http:
        assert http.post("/", headers=TARGET, json={}).status_code == 200
        for headers in (FOREIGN, {"Host": "evil.example:4566"}):
            assert http.post("/", headers=TARGET | headers, json={}).status_code == 403
            assert http.get("/_polyhost/state", headers=headers).status_code == 403
            assert http.post("/_polyhost/faults", headers=headers, json={"kind": "time-out"}).status_code == 403
            response = http.put("/models/page.txt", headers=headers, content=b"?")
            assert response.status_code == 403
            preflight = headers | {"Access-Control-Request-Method": "PUT"}
            response = http.options("/models/page.txt", headers=preflight)
            assert response.status_code == 403
            assert "access-control-allow-origin" not in response.headers
        assert http.get("/_polyhost/state").status_code == 200
    assert "Contents" not in local.s3.list_objects_v2(Bucket="models", Prefix="page.txt")


def test_fault_of_another_content_type_is_rejected(local: Local) -> None:
    """A browser sends application/json for other web pages only after a preflight, which is rejected."""
    response = httpx.post(f"{local.emulator.url}/_polyhost/faults", content=b'{"kind": "time-out"}', trust_env=False)
    assert response.status_code == 415
    assert httpx.get(f"{local.emulator.url}/_polyhost/faults", trust_env=False).json() == []
