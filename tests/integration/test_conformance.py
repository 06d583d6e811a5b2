"""SageMaker's rules for multi-model containers, row by row of docs/conformance.md, with both front ends.

AWS: docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html. Where Multi Model Server itself breaks a rule, the
test states what it does, so that a change is noticed; the native front end keeps them all.
"""

import io
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TypeVar
from zipfile import ZipFile

import httpx
import psutil
import pytest

from polyhost.container.forkserver.exit_status import explain_death
from tests.support.container import ContainerProcess, running
from tests.support.models import place
from tests.support.waiting import wait_for

T = TypeVar("T")
NewModel = Callable[[str], str]
OPAQUE = "application/octet-stream"
MB = 1024 * 1024


@pytest.fixture(scope="module")
def strict(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    """Start a container with small limits of size; tests leave no models in it."""
    limits = {
        "SAGEMAKER_MAX_REQUEST_SIZE": "1",
        "POLYHOST_ZYGOTES": "bare",
        "MMS_JOB_QUEUE_SIZE": "2",
        "POLYHOST_QUEUE_SIZE": "2",
        "POLYHOST_MAX_WORKERS": "1",  # a second worker would take requests from the queue
    }
    with running(tmp_path_factory.mktemp("strict-container"), front, **limits) as started:
        yield started


@pytest.fixture(scope="module")
def impatient(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    """Start a container with short time-outs, for tests that wait for one; no other could be sure to be in time."""
    limits = {
        "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "10",
        "POLYHOST_LOAD_TIMEOUT_SECONDS": "5",
        "POLYHOST_ZYGOTES": "bare",
    }
    with running(tmp_path_factory.mktemp("impatient-container"), front, **limits) as started:
        yield started


def replace_by(kind: str, container: ContainerProcess, name: str) -> None:
    """Replace this model's files by those of another kind."""
    other = place(kind, container.models_dir)
    shutil.rmtree(container.folder(name))
    container.folder(other).rename(container.folder(name))
    container.folder(other).parent.rmdir()


def zipfile(folder: Path) -> bytes:
    """Return the folder as a .mar file, which is what Multi Model Server downloads."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


@contextmanager
def http_server(body: bytes, fetched: list[str]) -> Iterator[str]:
    """Serve the body under the URL that is yielded, and note each path that is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/model.mar"
        finally:
            server.shutdown()


def assert_not_registered(container: ContainerProcess, name: str) -> None:
    # MMS responds a moment before it has unregistered the model.
    wait_for(lambda: name not in container.names(), f"{name} unregistered")
    assert container.http.get(f"/models/{name}").status_code == 404
    assert container.invoke(name).status_code == 404
    wait_for(lambda: not container.processes_of(name), f"the end of {name}'s processes")


def by_front(container: ContainerProcess, mms: T, native: T) -> T:
    return native if container.native else mms


def not_found(container: ContainerProcess) -> str:
    return by_front(container, "ModelNotFoundException", "ModelNotFoundError")


def error(response: httpx.Response) -> tuple[int, str]:
    """Return the status, and the error type of the body."""
    body = response.json()
    assert body["code"] == response.status_code
    return response.status_code, body["type"]


# /ping


def test_row_01_ping(container: ContainerProcess) -> None:
    response = container.http.get("/ping", timeout=30)

    assert (response.status_code, set(response.json())) == (200, {"status"})
    assert container.http.post("/ping").status_code == 200


def test_row_02_ping_with_a_model_whose_worker_died(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("exits_in_predict"))
    assert container.invoke(name, "die").status_code == 500

    assert container.http.get("/ping", timeout=30).status_code == 200
    assert container.invoke(name, "1").status_code == 200


# Load


def test_row_03_load(container: ContainerProcess, new_model: NewModel) -> None:
    response = container.load(new_model("echo"))

    assert (response.status_code, response.json()["status"]) == (200, by_front(container, "Workers scaled", "loaded"))


def test_row_04_load_needs_no_settings(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))

    assert len([process for process in container.processes_of(name) if process.name() != "sleep"]) == 1
    assert container.invoke(name, "1").text == "1"


def test_row_05_load_twice(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))

    assert error(container.load(name)) == (409, by_front(container, "ConflictStatusException", "ModelLoadedError"))
    assert container.invoke(name, "1").text == "1"


def test_row_06_second_load_while_the_first_runs(
    container: ContainerProcess, new_model: NewModel, pool: ThreadPoolExecutor
) -> None:
    name = new_model("waits_for_a_file")
    first = pool.submit(container.load, name)
    container.wait_for_mark(name, "waits-for-load")

    second = container.load(name)

    container.mark(name, "load")
    assert (second.status_code, first.result().status_code) == (409, 200)


@pytest.mark.parametrize("kind", ["out_of_memory_in_load", "mxnet_out_of_memory_text", "cuda_out_of_memory_text"])
def test_row_07_out_of_memory_leaves_nothing_behind(
    container: ContainerProcess, new_model: NewModel, kind: str
) -> None:
    name = new_model(kind)

    assert container.load(name).status_code == 507
    assert_not_registered(container, name)
    assert container.load(name).status_code == 507
    replace_by("echo", container, name)
    assert container.load(name).status_code == 200
    assert container.invoke(name, "1").text == "1"


@pytest.mark.parametrize(("kind", "status"), [("class_handler_out_of_memory", 507), ("class_handler_raises", 500)])
def test_row_08_class_whose_initialize_fails(
    container: ContainerProcess, new_model: NewModel, kind: str, status: int
) -> None:
    name = new_model(kind)

    assert container.load(name).status_code == status
    assert_not_registered(container, name)


def test_row_09_worker_killed_in_load(container: ContainerProcess, new_model: NewModel) -> None:
    """Unless the kernel has counted a kill, memory may not be the cause."""
    name = new_model("killed_in_load")

    assert container.load(name).status_code == 500
    assert_not_registered(container, name)
    assert "SIGKILL" in container.wait_for_event("loading the model", model=name)["message"]


def test_row_09_worker_killed_by_the_kernel_in_load() -> None:
    killed = explain_death(9, activity="loading the model", oom_killed=True)

    assert killed.status == 507
    assert "out-of-memory killer" in str(killed)


@pytest.mark.parametrize(
    ("kind", "status", "type_", "words"),
    [
        ("raises_in_load", 500, "ValueError", "these weights are damaged"),
        ("raises_on_import", 500, "ValueError", "this script never works"),
        ("exits_in_load", 500, "WorkerDiedError", "exited with status 3"),
        ("empty", 400, "BadModelError", "README.txt"),
    ],
)
def test_row_10_load_fails(
    container: ContainerProcess, new_model: NewModel, kind: str, status: int, type_: str, words: str
) -> None:
    name = new_model(kind)

    response = container.load(name)

    if container.native:
        assert error(response) == (status, type_)
        assert words in response.json()["message"]
        assert (response.json()["model"], response.json()["phase"]) == (name, "load")
    else:
        assert (response.status_code, response.json()["message"]) == (500, "Failed to start workers")
    assert_not_registered(container, name)
    replace_by("echo", container, name)
    assert container.load(name).status_code == 200


def test_row_11_load_with_preload_model(container: ContainerProcess, new_model: NewModel) -> None:
    broken, sound = new_model("raises_in_load"), new_model("echo")

    assert container.load(broken, preload_model="true").status_code == 500
    assert_not_registered(container, broken)
    assert container.load(sound, preload_model="true").status_code == 200
    assert container.invoke(sound, "1").text == "1"


def test_row_12_url_does_not_exist(container: ContainerProcess) -> None:
    response = container.load("absent", str(container.models_dir / "absent" / "model"))

    assert error(response) == by_front(container, (404, "ModelNotFoundException"), (400, "BadRequestError"))
    assert_not_registered(container, "absent")


def test_row_13_url_with_dots(container: ContainerProcess, new_model: NewModel) -> None:
    name = new_model("echo")

    assert container.load(name, f"{container.models_dir}/../../{name}/model").status_code == by_front(
        container, 404, 400
    )
    assert_not_registered(container, name)
    inside = container.load(name, f"{container.models_dir}/../models/{name}/model")
    assert inside.status_code == by_front(container, 404, 200)


def test_row_13_url_outside_the_models_folder(container: ContainerProcess, new_model: NewModel, tmp_path: Path) -> None:
    name = new_model("echo")
    elsewhere = tmp_path / "model"
    shutil.copytree(container.folder(name), elsewhere)

    response = container.load(name, str(elsewhere))

    assert response.status_code == by_front(container, 500, 400)
    if container.native:
        assert str(container.models_dir) in response.json()["message"]
    else:
        assert str(container.models_dir) in container.wait_for_event("is not below", model=name)["message"]
    assert_not_registered(container, name)


def test_row_13_url_of_another_server(container: ContainerProcess, new_model: NewModel) -> None:
    name = new_model("echo")
    archive = zipfile(container.folder(name))
    fetched: list[str] = []

    with http_server(archive, fetched) as url:
        responses = [
            container.load(name, url),
            container.http.post("/models", params={"model_name": name, "url": url}),
            container.load(name, url.replace("http:", "https:")),
        ]

    assert [response.status_code for response in responses] == [400, 400, 400]
    assert fetched == []
    assert_not_registered(container, name)


def test_row_14_url_or_name_is_missing(container: ContainerProcess, new_model: NewModel) -> None:
    url = str(container.folder(new_model("echo")))

    without_url = container.http.post("/models", json={"model_name": "m"})
    without_name = container.http.post("/models", json={"url": url})

    assert error(without_url) == (400, by_front(container, "BadRequestException", "BadRequestError"))
    assert error(without_name) == (400, by_front(container, "InvalidModelException", "BadRequestError"))


@pytest.mark.parametrize(
    ("body", "kind"), [("{", "JsonSyntaxException"), ("", "NullPointerException"), ("[]", "JsonSyntaxException")]
)
def test_row_15_malformed_body(container: ContainerProcess, body: str, kind: str) -> None:
    response = container.http.post("/models", content=body, headers={"content-type": "application/json"})

    assert error(response) == by_front(container, (500, kind), (400, "BadRequestError"))


def test_row_15_query_instead_of_a_body(container: ContainerProcess, new_model: NewModel) -> None:
    name = new_model("echo")

    response = container.http.post("/models", params={"model_name": name, "url": str(container.folder(name))})

    assert response.status_code == 200
    assert container.invoke(name, "1").text == "1"


# List and describe


@pytest.fixture
def many(strict: ContainerProcess) -> Iterator[list[str]]:
    """Load 101 models from one folder; return their names."""
    url = str(strict.folder(place("class_handler", strict.models_dir)))
    names = [f"many-{number:03}" for number in range(101)]
    for name in names:
        strict.loaded(name, url)
    yield names
    for name in names:
        strict.unload(name)


def test_row_16_list_in_pages(strict: ContainerProcess, many: list[str]) -> None:
    first = strict.http.get("/models").json()
    second = strict.http.get("/models", params={"next_page_token": first["nextPageToken"]}).json()

    assert [model["modelName"] for model in first["models"] + second["models"]] == many
    assert len(first["models"]) == 100
    assert set(first["models"][0]) == {"modelName", "modelUrl"}
    assert "nextPageToken" not in second
    _check_list_of_exactly_one_page(strict, many)


def _check_list_of_exactly_one_page(strict: ContainerProcess, many: list[str]) -> None:
    """MMS adds an empty list page: `last > keys.size()` (ManagementRequestHandler.handleListModels)."""
    strict.unload(many[-1])

    full = strict.http.get("/models").json()
    if strict.native:
        assert (len(full["models"]), "nextPageToken" in full) == (100, False)
        return
    after = strict.http.get("/models", params={"next_page_token": full["nextPageToken"]}).json()

    assert (len(full["models"]), after) == (100, {"models": []})


def test_row_16_empty_list(strict: ContainerProcess) -> None:
    assert strict.http.get("/models").json() == {"models": []}


def test_row_16_list_shows_what_is_loading(
    container: ContainerProcess, new_model: NewModel, pool: ThreadPoolExecutor
) -> None:
    name = new_model("waits_for_a_file")
    load = pool.submit(container.load, name)
    container.wait_for_mark(name, "waits-for-load")

    assert (name in container.names()) == by_front(container, True, False)

    container.mark(name, "load")
    assert load.result().status_code == 200
    assert name in container.names()


@pytest.mark.parametrize(("token", "count"), [("nonsense", 1), ("-1", 1), ("1000", 0)])
def test_row_17_bad_page_token(strict: ContainerProcess, token: str, count: int) -> None:
    name = strict.loaded(place("class_handler", strict.models_dir))

    response = strict.http.get("/models", params={"next_page_token": token})

    if strict.native:
        assert error(response) == (400, "BadRequestError")
    else:
        assert (response.status_code, len(response.json()["models"])) == (200, count)
    strict.unload(name)


def test_row_18_describe(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))

    response = container.http.get(f"/models/{name}")

    described = response.json()
    assert (response.status_code, described["modelName"]) == (200, name)
    assert described["modelUrl"] == str(container.folder(name))


def test_row_19_describe_unknown(container: ContainerProcess) -> None:
    assert error(container.http.get("/models/unknown")) == (404, not_found(container))


# Unload


def test_row_20_unload_frees(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))
    assert container.processes_of(name)

    response = container.unload(name)

    assert response.status_code == 200
    if not container.native:  # MMS responds a moment too early
        wait_for(lambda: not container.processes_of(name), "the end of the model's processes")
    assert not container.processes_of(name)
    assert_not_registered(container, name)
    assert container.load(name).status_code == 200


def test_row_21_unload_unknown(container: ContainerProcess) -> None:
    assert error(container.unload("unknown")) == (404, not_found(container))


def test_row_22_unload_while_requests_run(strict: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    """MMS responds to the running request with 500 or, by a race of its threads, never, as to the queued ones.

    The native front end lets it finish, and rejects the queued ones.
    """
    other = strict.loaded(place("echo", strict.models_dir))
    name = place("waits_for_a_file", strict.models_dir)
    strict.mark(name, "load")
    strict.loaded(name)
    patience_s = by_front(strict, 2, 20)
    running_one = pool.submit(_status_within, patience_s, strict, name, "wait")
    strict.wait_for_mark(name, "waits-for-answer")
    queued_one = pool.submit(_status_within, patience_s, strict, name, "1")
    strict.wait_until_queued(name, 1)

    unload = pool.submit(strict.unload, name)

    if strict.native:
        assert queued_one.result() == 503
        strict.mark(name, "answer")
        assert running_one.result() == 200
    else:
        assert running_one.result() in (500, None)
        # 404 or 503 if it arrived only when the model was gone: MMS does not tell when a request is in its queue.
        assert queued_one.result() in (None, 404, 503)
    assert unload.result().status_code == 200
    wait_for(lambda: not strict.processes_of(name), "the end of the model's processes")
    assert strict.invoke(other, "1").status_code == 200
    assert strict.load(name).status_code == 200
    for loaded in (other, name):
        strict.unload(loaded)


def _status_within(seconds: float, container: ContainerProcess, name: str, body: str) -> int | None:
    try:
        return container.http.post(f"/models/{name}/invoke", content=body, timeout=seconds).status_code
    except httpx.ReadTimeout:
        return None


def test_row_23_unload_while_loading(
    container: ContainerProcess, new_model: NewModel, pool: ThreadPoolExecutor
) -> None:
    name = new_model("waits_for_a_file")
    load = pool.submit(container.load, name)
    container.wait_for_mark(name, "waits-for-load")

    assert container.unload(name).status_code == 200
    assert load.result().status_code == 500
    assert_not_registered(container, name)
    container.mark(name, "load")
    assert container.load(name).status_code == 200


# Invoke


def test_row_24_invoke(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))

    response = container.invoke(name, b"\x00\xff", content_type=OPAQUE)

    assert (response.status_code, response.content, response.headers["content-type"]) == (200, b"\x00\xff", OPAQUE)
    assert container.http.get(f"/models/{name}/invoke").status_code == by_front(container, 200, 405)


def test_row_25_invoke_a_model_that_is_not_loaded(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))
    container.unload(name)

    assert error(container.invoke(name)) == (404, not_found(container))
    assert error(container.invoke("never-seen")) == (404, not_found(container))


def test_row_26_invoke_while_loading_waits(
    container: ContainerProcess, new_model: NewModel, pool: ThreadPoolExecutor
) -> None:
    name = new_model("waits_for_a_file")
    load = pool.submit(container.load, name)
    container.wait_for_mark(name, "waits-for-load")
    response = pool.submit(container.invoke, name, "1")
    container.wait_until_queued(name, 1)

    container.mark(name, "load")

    assert (load.result().status_code, response.result().text) == (200, "1")


def test_row_27_invoke_with_the_queue_full(strict: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    name = place("waits_for_a_file", strict.models_dir)
    strict.mark(name, "load")
    strict.loaded(name)
    first = pool.submit(strict.invoke, name, "wait")
    strict.wait_for_mark(name, "waits-for-answer")
    others = {pool.submit(strict.invoke, name, "1") for _ in range(3)}

    # Two of them wait in the queue: the one that comes last is answered first.
    rejecting, queued = wait(others, 120, FIRST_COMPLETED)
    (rejected,) = (response.result() for response in rejecting)

    strict.mark(name, "answer")
    assert error(rejected) == (503, by_front(strict, "ServiceUnavailableException", "QueueFullError"))
    assert by_front(strict, "job queue size", "2 requests are queued for model") in rejected.json()["message"]
    assert ("retry-after" in rejected.headers) == strict.native
    assert [response.result().status_code for response in (first, *queued)] == [200, 200, 200]
    strict.unload(name)


def test_row_28_handler_raises(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("raises_in_predict"))

    response = container.invoke(name)

    assert (response.status_code, response.headers["content-type"]) == (500, "application/json")
    assert response.json() == {
        "code": 500,
        "type": "ValueError",
        "message": "this body makes no sense",
        "model": name,
        "phase": "predict",
    }


def test_row_28_handler_rejects_with_its_own_status(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("returns_an_exception"))

    response = container.invoke(name)

    assert error(response) == (418, "Teapot")
    assert (response.json()["message"], response.json()["phase"]) == ("short and stout", "decode")


def test_row_29_out_of_memory_in_invoke(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("out_of_memory_in_predict"))

    assert error(container.invoke(name)) == (507, "MemoryError")
    assert name in container.names()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("exits_in_predict", "exited with status 7"),
        ("killed_in_predict", "killed (SIGKILL)"),
        ("segfaults_in_predict", "SIGSEGV"),
    ],
)
def test_row_30_worker_dies_in_invoke(container: ContainerProcess, new_model: NewModel, kind: str, words: str) -> None:
    name = container.loaded(new_model(kind))

    response = container.invoke(name, "die")

    assert error(response) == (500, "WorkerDiedError")
    assert words in response.json()["message"]
    assert container.invoke(name, "1").text == "1"


def test_row_31_launcher_of_a_model_dies(container: ContainerProcess, new_model: NewModel) -> None:
    """The process that MMS takes for the model's server only sleeps: the model is served without it."""
    if container.native:
        pytest.skip("there are no launchers behind the native front end")
    name = container.loaded(new_model("echo"))
    (launcher,) = container.launchers_of(name)

    launcher.kill()

    wait_for(lambda: not container.launchers_of(name), "the launcher's end")
    assert container.invoke(name, "1").text == "1"
    assert container.unload(name).status_code == 200
    wait_for(lambda: not container.processes_of(name), "the end of the model's processes")
    assert container.load(name).status_code == 200


# Limits


def test_row_32_response_timeout(impatient: ContainerProcess) -> None:
    name = impatient.loaded(place("never_responds", impatient.models_dir))
    start = time.monotonic()

    response = impatient.invoke(name, "wait")

    assert time.monotonic() - start >= 10
    # The fork server ends the worker. On a machine where it is 2 s late for that, the native front end answers first.
    assert error(response) in ((504, "WorkerDiedError"), (504, by_front(impatient, "WorkerDiedError", "DeadlineError")))
    assert "no response within 10 s" in response.json()["message"]
    assert impatient.invoke(name, "1").text == "1"
    impatient.unload(name)


def test_row_32_load_timeout(impatient: ContainerProcess) -> None:
    name = place("never_loads", impatient.models_dir)
    start = time.monotonic()

    assert impatient.load(name).status_code == by_front(impatient, 500, 504)

    assert time.monotonic() - start >= 5
    assert_not_registered(impatient, name)


def test_row_33_request_of_30_mb(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))

    assert container.invoke(name, bytes(30 * MB), content_type=OPAQUE).status_code == 413
    assert len(container.invoke(name, bytes(24 * MB), content_type=OPAQUE).content) == 24 * MB


def test_row_34_response_above_the_limit(strict: ContainerProcess) -> None:
    name = strict.loaded(place("large_response", strict.models_dir))

    response = strict.invoke(name, str(MB + 1))

    assert error(response) == (500, "ResponseTooLargeError")
    assert str(MB) in response.json()["message"]
    assert len(strict.invoke(name, str(MB)).content) == MB
    strict.unload(name)


# The rest


def test_row_35_wrong_method(container: ContainerProcess) -> None:
    not_allowed = by_front(container, "MethodNotAllowedException", "MethodNotAllowedError")
    assert error(container.http.put("/models")) == (405, not_allowed)
    assert error(container.http.post("/models/m")) == (405, not_allowed)
    assert error(container.http.get("/nothing")) == (
        404,
        by_front(container, "ResourceNotFoundException", "NoRouteError"),
    )


def test_row_36_invocations(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("echo"))

    without_name = container.http.post("/invocations", content="1")

    assert error(without_name) == (400, by_front(container, "BadRequestException", "BadRequestError"))
    assert container.http.post("/invocations", params={"model_name": name}, content="1").text == "1"


def test_row_37_connection_after_an_error(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("raises_in_predict"))

    after_error = container.invoke(name).headers.get("connection", "keep-alive")

    assert after_error == by_front(container, "close", "keep-alive")
    assert container.http.get("/ping").headers.get("connection", "keep-alive") == "keep-alive"


def test_row_38_asynchronous_load(container: ContainerProcess, new_model: NewModel) -> None:
    name = new_model("echo")

    assert container.load(name, synchronous=False).status_code == by_front(container, 202, 200)

    assert wait_for(lambda: container.invoke(name, "1").status_code == 200, "the model")


def test_row_39_headers_reach_the_handler(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("describes_itself"))
    sent = {
        "X-Amzn-SageMaker-Custom-Attributes": "a=1,b=2",
        "X-Amzn-SageMaker-Target-Model": "animals/cats.tar.gz",
        "Content-Type": "text/csv; charset=utf-8",
        "Accept": "text/plain",
    }

    response = container.http.post(f"/models/{name}/invoke", content="1", headers=sent)

    got = {key.lower(): value for key, value in response.json()["headers"].items()}
    assert {key: got[key.lower()] for key in sent} == sent
    assert response.headers["x-request-id"]


def test_row_39_headers_come_back(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("sets_headers"))

    response = container.invoke(name, **{"X-Amzn-SageMaker-Custom-Attributes": "trace=7"})

    assert (response.status_code, response.reason_phrase, response.text) == (201, "Made", "made")
    assert response.headers["content-type"] == "text/x-own"
    assert response.headers["x-amzn-sagemaker-custom-attributes"] == "answer to trace=7"


def test_row_40_execution_parameters(container: ContainerProcess) -> None:
    response = container.http.get("/execution-parameters")

    assert error(response) == (404, by_front(container, "ResourceNotFoundException", "NoRouteError"))


# The minimum that a multi-model container must do, as far as no row above tests it


def exchange_bytes(container: ContainerProcess, sent: bytes) -> bytes:
    """Send bytes as they are, and return the beginning of the response."""
    with socket.create_connection(("127.0.0.1", container.port), timeout=60) as client:
        client.sendall(sent)
        return client.recv(1 << 16)


def status_of(response: bytes) -> int:
    return int(response.split()[1])


@pytest.mark.parametrize(
    "rest",
    [
        b"\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"\nContent-Length: 3\n\nabc",
        b"\r\nX: a\r\n b\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=["two lengths", "chunk size", "bare LF", "folded"],
)
def test_row_41_ambiguous_framing(container: ContainerProcess, new_model: NewModel, rest: bytes) -> None:
    name = container.loaded(new_model("returns_the_body"))

    response = exchange_bytes(container, b"POST /models/%b/invoke HTTP/1.1\r\nHost: a" % name.encode() + rest)

    assert status_of(response) == by_front(container, 200, 400)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/0.9\r\nHost: a", 505),
        (b"HTTP/2.0\r\nHost: a", 505),
        (b"HTTP/1.1", 400),
        (b"HTTP/1.1\r\nHost: a\r\nHost: b", 400),
    ],
)
def test_row_42_version_and_host(container: ContainerProcess, head: bytes, status: int) -> None:
    response = exchange_bytes(container, b"GET /ping %b\r\n\r\n" % head)

    assert status_of(response) == by_front(container, 200, status)


def test_row_43_pipelined_requests(container: ContainerProcess, new_model: NewModel) -> None:
    name = new_model("waits_for_a_file")
    container.mark(name, "load")
    container.loaded(name)
    first = b"POST /models/%b/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwait" % name.encode()

    with socket.create_connection(("127.0.0.1", container.port), timeout=60) as client:
        client.sendall(first + b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        container.wait_for_mark(name, "waits-for-answer")
        received = b"" if container.native else client.recv(1 << 16)  # MMS answers /ping first
        container.mark(name, "answer")
        while len(answers := re.findall(rb"\r\n\r\nwait|Healthy", received)) < 2:
            received += client.recv(1 << 16)

    assert answers == by_front(container, [b"Healthy", b"\r\n\r\nwait"], [b"\r\n\r\nwait", b"Healthy"])


def test_minimum_1_and_2_ping_and_list_during_loads_and_unloads(
    container: ContainerProcess, new_model: NewModel, pool: ThreadPoolExecutor
) -> None:
    names = [new_model("echo") for _ in range(4)]
    calls = [pool.submit(_load_and_unload, container, name) for name in names]

    listings = 0
    while not all(call.done() for call in calls) or listings < 2:  # on a fast machine the loads may be over first
        assert container.http.get("/ping", timeout=30).status_code == 200
        listed = container.http.get("/models", timeout=30)
        if container.native or listed.status_code == 200:
            assert listed.status_code == 200
            listings += 1
        else:
            # Unloaded while MMS wrote the list: ManagementRequestHandler.handleListModels gets each by name.
            assert error(listed) == (500, "NullPointerException")

    assert [call.result() for call in calls] == [(200, 200)] * 4


def _load_and_unload(container: ContainerProcess, name: str) -> tuple[int, int]:
    return container.load(name).status_code, container.unload(name).status_code


def test_minimum_4_loads_delay_no_requests(
    container: ContainerProcess, new_model: NewModel, pool: ThreadPoolExecutor
) -> None:
    served = container.loaded(new_model("echo"))
    loading = [new_model("waits_for_a_file") for _ in range(2)]
    loads = [pool.submit(container.load, name) for name in loading]
    for name in loading:
        container.wait_for_mark(name, "waits-for-load")

    assert container.invoke(served, "1").status_code == 200
    assert container.loaded(new_model("echo"))

    for name in loading:
        container.mark(name, "load")
    assert [load.result().status_code for load in loads] == [200, 200]


def test_minimum_6_unloads_wait_for_no_other_model(
    container: ContainerProcess, new_model: NewModel, pool: ThreadPoolExecutor
) -> None:
    busy, unloaded = new_model("waits_for_a_file"), container.loaded(new_model("echo"))
    container.mark(busy, "load")
    container.loaded(busy)
    response = pool.submit(container.invoke, busy, "wait")
    container.wait_for_mark(busy, "waits-for-answer")

    assert container.unload(unloaded).status_code == 200

    container.mark(busy, "answer")
    assert response.result().text == "wait"


def test_minimum_8_listens_on_one_port_only(container: ContainerProcess) -> None:
    listening = {port for process in container.processes() for port in _listening(process)}

    assert listening == {container.port}


def _listening(process: psutil.Process) -> list[int]:
    try:
        return [item.laddr.port for item in process.net_connections("tcp") if item.status == psutil.CONN_LISTEN]
    except psutil.NoSuchProcess:
        return []


def test_every_row_is_documented() -> None:
    """docs/conformance.md names every test of this file, and no other."""
    documentation = (Path(__file__).parent.parent.parent / "docs" / "conformance.md").read_text()
    tests = {name for name in globals() if name.startswith(("test_row_", "test_minimum_"))}

    assert {word for word in documentation.split("`") if word.startswith(("test_row_", "test_minimum_"))} == tests
