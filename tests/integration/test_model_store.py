"""The container plays the platform's part: TargetModel without SageMaker, with plain boto3 and with curl's requests."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from polyhost.container.model_store.errors import NOT_READY
from tests.support.container import ContainerProcess, running
from tests.support.model_store import TARGET, archive_of, put, says
from tests.support.processes import is_alive, query
from tests.support.s3 import s3_server
from tests.support.waiting import wait_for

JSON = "application/json"
TOKEN = "a-token-of-thirty-two-characters"
_ENVIRON = "def model_fn(d): return 1\ndef transform_fn(m, b, c, a): return open('/proc/self/environ').read(), 'a/b'"
SETTINGS = {"SAGEMAKER_MULTI_MODEL": "", "POLYHOST_ZYGOTES": "bare", "POLYHOST_STORE_CHECK_SECONDS": "1"}


@pytest.fixture(scope="module", params=["native", "mms"])
def front(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    for kind in ("echo", "yields", "raises_in_load", "raises_in_predict", "describes_itself", "waits_for_a_file"):
        put(folder, f"team/{kind}.tar.gz", archive_of(kind))
    return folder


@pytest.fixture(scope="module")
def container(front: str, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    folder = tmp_path_factory.mktemp("container")
    with running_store(folder, front, store, SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS="20") as started:
        yield started


def running_store(folder: Path, front: str, store: Path | str, **environ: str) -> Any:
    state = folder / "state"
    state.mkdir(exist_ok=True)
    settings = {**SETTINGS, "POLYHOST_STATE_DIR": str(state), "POLYHOST_MODEL_STORE": str(store), **environ}
    return running(folder, front, **settings)


@contextmanager
def runtime(container: ContainerProcess, key_id: str = "any", secret: str = "any") -> Iterator[Any]:
    """Yield boto3's client with nothing but the endpoint's URL changed."""
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=str(container.http.base_url),
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )
    with closing(client):
        yield client


def invoke(container: ContainerProcess, name: str, body: bytes | str = b"{}", **headers: str) -> httpx.Response:
    """Ask again while the model is being loaded: a client waits for a while only, and the load goes on."""
    sent = {TARGET: name, "Content-Type": JSON, **{key.replace("_", "-"): value for key, value in headers.items()}}

    def answered() -> httpx.Response | None:
        response = container.http.post("/invocations", content=body, headers=sent)
        loading = response.status_code == httpx.codes.SERVICE_UNAVAILABLE and response.json()["type"] == NOT_READY
        return None if loading else response

    found: httpx.Response = wait_for(answered, f"{name} is loaded")
    return found


def error_of(container: ContainerProcess, **members: Any) -> dict[str, Any]:
    with runtime(container) as client, pytest.raises(ClientError) as error:
        client.invoke_endpoint(**{"EndpointName": "any", "ContentType": JSON, "Body": b"{}", **members})
    response: dict[str, Any] = error.value.response
    return response


# The container's API


def test_a_model_that_nobody_loaded_answers(container: ContainerProcess) -> None:
    response = invoke(container, "team/echo.tar.gz", b'{"a": 1}')
    assert (response.status_code, response.json()) == (200, {"a": 1})
    listed = {entry["modelName"]: entry for entry in container.http.get("/models").json()["models"]}
    entry = listed["team/echo.tar.gz"]
    assert len(entry["version"]) == 12 and entry["lastUsed"] <= time.time() and entry["pinned"] is False


def test_many_clients_of_a_cold_model_share_one_load(container: ContainerProcess, store: Path, pool: Any) -> None:
    put(store, "shared.tar.gz", archive_of("describes_itself"))
    responses = list(pool.map(lambda _: invoke(container, "shared.tar.gz"), range(20)))
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["pid"] for response in responses}) == 1
    assert len(container.events(message="loaded", model="shared.tar.gz", phase="load")) <= 1


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("none.tar.gz", 404, "ModelNotFoundError"),
        ("../none.tar.gz", 400, "BadTargetError"),
        ("broken.tar.gz", 422, "InvalidArchiveError"),
        ("team/raises_in_load.tar.gz", 500, "ValueError"),
        ("team/raises_in_predict.tar.gz", 500, None),
    ],
)
def test_failures_say_what_and_why(
    container: ContainerProcess, store: Path, name: str, status: int, kind: str | None
) -> None:
    put(store, "broken.tar.gz", b"\x1f\x8bnothing")
    response = invoke(container, name)
    assert response.status_code == status, response.text
    if kind == "ValueError" and not container.native:
        kind = "LoadError"  # MMS does not pass the reason on; it is in the log
    assert kind is None or response.json()["type"] == kind


def test_a_request_without_a_name_is_told_the_header(container: ContainerProcess) -> None:
    response = container.http.post("/invocations", content=b"{}")
    assert response.status_code == 400 and TARGET in response.json()["message"]


def test_loads_by_hand_are_refused(container: ContainerProcess) -> None:
    response = container.http.post("/models", json={"model_name": "m", "url": "/x"})
    assert response.status_code == 405 and "POLYHOST_MODEL_STORE" in response.json()["message"]
    assert container.http.delete("/models/team%2Fecho.tar.gz").status_code == 405


def test_metrics_have_no_names_of_models_that_do_not_exist(container: ContainerProcess) -> None:
    for number in range(300):
        assert invoke(container, f"made-up-{number}.tar.gz").status_code == 404
    text = container.http.get("/metrics").text
    assert "made-up" not in text
    missing = container.metric("polyhost_target_failures_total", kind="ModelNotFoundError")
    assert missing is not None and missing >= 300
    assert container.metric("polyhost_target_hits_total") is not None


# AWS's runtime API


def test_boto3_invokes(container: ContainerProcess) -> None:
    with runtime(container) as client:
        response = client.invoke_endpoint(
            EndpointName="any",
            TargetModel="team/describes_itself.tar.gz",
            ContentType="text/csv",
            Accept=JSON,
            CustomAttributes="trace=1",
            Body=b"1,2",
        )
        seen = json.loads(response["Body"].read())
    assert (response["ContentType"], response["InvokedProductionVariant"]) == (JSON, "AllTraffic")
    assert (seen["content_type"], seen["accept"]) == ("text/csv", JSON)
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert headers["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    assert not any(name.startswith(("authorization", "x-amz-date", "amz-sdk")) for name in headers)


def test_boto3_gets_awss_errors(container: ContainerProcess) -> None:
    error = error_of(container, TargetModel="team/raises_in_predict.tar.gz")
    assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 500)
    assert "OriginalMessage" in error and error["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert error_of(container, TargetModel="none.tar.gz")["Error"]["Code"] == "ValidationError"
    assert error_of(container, TargetModel="../x")["Error"]["Code"] == "ValidationError"
    assert "missing a target model header" in error_of(container)["Error"]["Message"]
    assert error_of(container, TargetModel="team/raises_in_load.tar.gz")["Error"]["Code"] == "ModelError"


def test_a_load_that_takes_long_is_not_ready_and_goes_on(container: ContainerProcess) -> None:
    error = error_of(container, TargetModel="team/waits_for_a_file.tar.gz")
    assert error["Error"]["Code"] == "ModelNotReadyException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
    (waits,) = wait_for(lambda: list(container.base_dir.parent.rglob("waits-for-load")), "the model is being loaded")
    (waits.parent / "load").touch()
    assert invoke(container, "team/waits_for_a_file.tar.gz", b"{}").status_code == 200


def test_boto3_streams(container: ContainerProcess) -> None:
    with runtime(container) as client:
        # The operation has no member TargetModel, but a client may send the header.
        client.meta.events.register(
            "before-send.sagemaker-runtime.*",
            lambda request, **_: request.headers.__setitem__(TARGET, "team/yields.tar.gz"),
        )

        def stream(body: dict[str, Any]) -> list[bytes]:
            response = client.invoke_endpoint_with_response_stream(
                EndpointName="any", ContentType=JSON, Body=json.dumps(body).encode()
            )
            assert response["ContentType"] == "text/plain"
            with closing(response["Body"]) as events:
                return [event["PayloadPart"]["Bytes"] for event in events]

        assert b"".join(stream({"pieces": 3})) == b"piece 0;piece 1;piece 2;"
        if not container.native:
            return  # MMS sends a response when it is whole
        with pytest.raises(EventStreamError, match="some was sent already"):
            stream({"pieces": 2, "then": "raise"})
        with pytest.raises(ClientError) as error:
            stream({"pieces": 1, "first": "raise"})
        assert error.value.response["Error"]["Code"] == "ModelError"


# Versions, restarts, settings


def test_a_new_version_comes_without_a_gap(tmp_path: Path, front: str) -> None:
    store = tmp_path / "store"
    put(store, "a.tar.gz", says("one"))
    with running_store(tmp_path, front, store) as container:
        assert invoke(container, "a.tar.gz").text == "one"
        answers: list[tuple[int, str]] = []
        stop = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=container.http.base_url, timeout=60, trust_env=False) as client:
                while not stop.is_set():
                    response = client.post("/invocations", content=b"{}", headers={TARGET: "a.tar.gz"})
                    answers.append((response.status_code, response.text))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            put(store, "a.tar.gz", b"\x1f\x8bbroken")
            container.wait_for_event("was not loaded")
            put(store, "a.tar.gz", says("two"))
            wait_for(lambda: (200, "two") in answers, "an answer of the new version")
            container.wait_for_event("unloaded a.tar.gz")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert set(answers) == {(200, "one"), (200, "two")}
        assert len(container.http.get("/models").json()["models"]) == 1
        assert container.metric("polyhost_failed_replacements_total") == 1


def test_a_folder_of_models_needs_no_setting(tmp_path: Path, front: str) -> None:
    """As `docker run -v $PWD/models:/opt/ml/models IMAGE serve`; unpacked models are served as well."""
    models = tmp_path / "ml" / "models"
    put(models, "a.tar.gz", says("packed"))
    shutil.copytree(Path(__file__).parent.parent / "models" / "echo", models / "plain")
    with running(tmp_path, front, **SETTINGS, POLYHOST_STATE_DIR=str(tmp_path)) as container:
        assert invoke(container, "a.tar.gz").text == "packed"
        assert invoke(container, "plain", b"[1]").json() == [1]


def test_models_are_loaded_at_the_start_and_pinned(tmp_path: Path, front: str) -> None:
    store = tmp_path / "store"
    for name in ("team/a.tar.gz", "team/b.tar.gz", "c.tar.gz"):
        put(store, name, says(name))
    put(store, "team/slow.tar.gz", archive_of("waits_for_a_file"))
    settings = {"POLYHOST_LOAD_AT_START": "team/* missing.tar.gz", "POLYHOST_PINNED": "team/a*"}
    with running_store(tmp_path, front, store, **settings) as container:
        assert container.http.get("/ready").status_code == 503
        waiting = wait_for(lambda: list(tmp_path.rglob("waits-for-load")), "the slow model")
        (waiting[0].parent / "load").touch()
        ready = wait_for(
            lambda: container.http.get("/ready").status_code == 200 and container.http.get("/ready"), "ready"
        )
        assert list(ready.json()["failed"]) == ["missing.tar.gz"]
        listed = {entry["modelName"]: entry["pinned"] for entry in container.http.get("/models").json()["models"]}
        assert listed == {"team/a.tar.gz": True, "team/b.tar.gz": False, "team/slow.tar.gz": False}


def test_a_bearer_token_is_asked_for_and_kept_from_models(tmp_path: Path, front: str) -> None:
    store = tmp_path / "store"
    put(store, "a.tar.gz", archive_of("describes_itself"))
    put(store, "env.tar.gz", archive_of("empty", inference__py=_ENVIRON))
    with running_store(tmp_path, front, store, POLYHOST_BEARER_TOKEN=TOKEN) as container:
        assert container.http.get("/ping").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong-token-of-some-length"}):
            response = invoke(container, "a.tar.gz", **headers)
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
            assert container.http.get("/models", headers=headers).status_code == 401
        assert error_of(container, TargetModel="a.tar.gz")["Error"]["Code"] == "AccessDeniedException"
        response = invoke(container, "a.tar.gz", Authorization=f"Bearer {TOKEN}")
        assert response.status_code == 200 and TOKEN not in response.text
        assert TOKEN not in invoke(container, "env.tar.gz", Authorization=f"Bearer {TOKEN}").text
        assert not any(TOKEN in " ".join(query(process.cmdline) or []) for process in container.processes())


def test_only_who_has_the_token_is_told_which_models_were_to_be_loaded(tmp_path: Path, front: str) -> None:
    put(tmp_path / "store", "a.tar.gz", archive_of("empty"))
    settings = {"POLYHOST_LOAD_AT_START": "none.tar.gz", "POLYHOST_BEARER_TOKEN": TOKEN}
    with running_store(tmp_path, front, tmp_path / "store", **settings) as container:
        wait_for(lambda: container.http.get("/ready").status_code == 200, "readiness")
        for headers in ({}, {"Authorization": "Bearer wrong-token-of-some-length"}):
            assert container.http.get("/ready", headers=headers).json() == {"status": "ready"}
        told = container.http.get("/ready", headers={"Authorization": f"Bearer {TOKEN}"}).json()
        assert list(told["failed"]) == ["none.tar.gz"]


def test_signatures_are_checked_with_the_keys_that_are_set(tmp_path: Path, front: str) -> None:
    put(tmp_path / "store", "env.tar.gz", archive_of("empty", inference__py=_ENVIRON))
    put(tmp_path / "store", "yields.tar.gz", archive_of("yields"))
    key, secret = "AKIAEXAMPLEEXAMPLE", "a-secret-of-forty-characters/with+others"
    (tmp_path / "keys").write_text(f"{key}:{secret}\nAKIASECONDSECONDSECOND:{secret[::-1]}\n")
    settings = {"POLYHOST_SIGNING_KEYS": str(tmp_path / "keys"), "POLYHOST_BEARER_TOKEN": TOKEN}
    with running_store(tmp_path, front, tmp_path / "store", **settings) as container:
        with runtime(container, key, secret) as client:
            response = client.invoke_endpoint(EndpointName="any", TargetModel="env.tar.gz", Body=b"x" * 100_000)
            seen = response["Body"].read().decode()
            assert not any(hidden in seen for hidden in (secret, TOKEN, "SIGNING_KEYS"))
            client.meta.events.register(
                "before-call.sagemaker-runtime.*",
                lambda params, **_: params["headers"].__setitem__(TARGET, "yields.tar.gz"),
            )
            streamed = client.invoke_endpoint_with_response_stream(
                EndpointName="any", ContentType=JSON, Body=b'{"pieces": 1}'
            )
            with closing(streamed["Body"]) as events:
                assert b"".join(event["PayloadPart"]["Bytes"] for event in events) == b"piece 0;"
        wrong = {(key, secret[::-1]): "InvalidSignatureException", (key[::-1], secret): "UnrecognizedClientException"}
        for (key_id, given), code in wrong.items():
            with runtime(container, key_id, given) as client, pytest.raises(ClientError) as error:
                client.invoke_endpoint(EndpointName="any", TargetModel="env.tar.gz", Body=b"x")
            assert error.value.response["Error"]["Code"] == code
            assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        path, target = "/endpoints/any/invocations", {TARGET: "env.tar.gz"}
        unsigned = container.http.post(path, headers=target)
        assert unsigned.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
        by_token = container.http.post(path, headers={**target, "Authorization": f"Bearer {TOKEN}"})
        assert by_token.status_code == 200
        assert invoke(container, "env.tar.gz").status_code == 401


# Object stores


def test_an_s3_prefix_is_served_on_when_s3_is_gone(tmp_path: Path, front: str) -> None:
    pytest.importorskip("obstore")
    bucket = "served-on"  # an emulator of other tests in this process has the same buckets, and one named models
    with s3_server() as (s3, variables):
        s3.create_bucket(Bucket=bucket)
        for name in ("a.tar.gz", "b.tar.gz", "team/c d+e.tar.gz"):
            s3.put_object(Bucket=bucket, Key=f"p/{name}", Body=says(name))
        script = (
            "import os\ndef model_fn(d): return 1\ndef transform_fn(m, b, c, a): return repr(dict(os.environ)), 'a/b'\n"
        )
        s3.put_object(Bucket=bucket, Key="p/env.tar.gz", Body=archive_of("empty", inference__py=script))
        withheld = {**variables, "POLYHOST_WITHHOLD": "AWS_*"}  # from models; the front end gets them by a pipe
        with running_store(tmp_path, front, f"s3://{bucket}/p/", **withheld) as container:
            assert "AWS_SECRET" not in invoke(container, "env.tar.gz").text
            assert invoke(container, "a.tar.gz").text == "a.tar.gz"
            assert invoke(container, "team/c d+e.tar.gz").text == "team/c d+e.tar.gz"
            assert invoke(container, "none.tar.gz").status_code == 404
            s3.put_object(Bucket=bucket, Key="p/a.tar.gz", Body=says("new"))
            wait_for(lambda: invoke(container, "a.tar.gz").text == "new", "the new version")
    with running_store(tmp_path, front, f"s3://{bucket}/p", **variables) as again:  # S3 is gone, the disk is not
        assert invoke(again, "a.tar.gz").text == "new"
        response = invoke(again, "b.tar.gz")
        assert (response.status_code, response.json()["type"]) == (503, "StoreUnreachableError")
        error = error_of(again, TargetModel="b.tar.gz")
        assert error["Error"]["Code"] == "ServiceUnavailable"
        assert invoke(again, "a.tar.gz").text == "new"


def test_a_process_is_ready_for_the_next_archive(tmp_path: Path, front: str) -> None:
    """It is used once and replaced; one that is killed costs nothing; `running` looks for one that is left."""
    for name in "ab":
        put(tmp_path / "store", f"{name}.tar.gz", archive_of("echo"))
    with running_store(tmp_path, front, tmp_path / "store") as container:
        first = ready_extractor(container)
        assert invoke(container, "a.tar.gz").status_code == 200
        wait_for(lambda: not is_alive(first), "its archive was its only one")
        second = ready_extractor(container)
        second.kill()
        wait_for(lambda: not is_alive(second), "it has ended")
        assert invoke(container, "b.tar.gz").status_code == 200
        ready_extractor(container)


def test_the_extractor_ends_with_a_front_end_that_dies(tmp_path: Path, front: str) -> None:
    (tmp_path / "store").mkdir()
    with running_store(tmp_path, front, tmp_path / "store") as container:
        extractor = ready_extractor(container)
        front_end = extractor.parent()
        assert front_end is not None
        front_end.kill()
        wait_for(lambda: not is_alive(extractor), "the extractor has ended")
        wait_for(lambda: container.process.poll() is not None, "the container has ended")


def ready_extractor(container: ContainerProcess) -> psutil.Process:
    """Return the process that waits for an archive, once there is one."""
    process: psutil.Process = wait_for(
        lambda: next((process for process in container.processes() if is_extractor(process)), None), "an extractor"
    )
    return process


def is_extractor(process: psutil.Process) -> bool:
    return is_alive(process) and "polyhost.extraction" in " ".join(query(process.cmdline) or [])


def test_missing_credentials_are_named(tmp_path: Path, front: str) -> None:
    pytest.importorskip("obstore")
    variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials", "HOME": str(tmp_path)}
    with running_store(tmp_path, front, "s3://models/p/", **variables) as container:
        response = invoke(container, "a.tar.gz")
        assert (response.status_code, response.json()["type"]) == (502, "StoreAccessError"), response.text
        assert "AWS_ACCESS_KEY_ID" in response.json()["message"]
        assert container.http.get("/ping").status_code == 200


def test_a_router_that_dies_ends_the_container(tmp_path: Path) -> None:
    put(tmp_path / "store", "a.tar.gz", says("served"))
    with running_store(tmp_path, "mms", tmp_path / "store") as container:
        assert invoke(container, "a.tar.gz").text == "served"
        container.process_of("polyhost.container.router").kill()
        assert container.process.wait(60) == 1
        container.wait_for_event("the router has ended")
