"""The native front end's own features: batches, streamed responses, queues with deadlines, draining, metrics."""

import json
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyhost.client import RequestError
from tests.support.container import ContainerProcess, running
from tests.support.models import place
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    limits = {"POLYHOST_ZYGOTES": "bare"}
    with running(tmp_path_factory.mktemp("native-container"), "native", **limits) as started:
        yield started


def loaded(container: ContainerProcess, kind: str) -> str:
    """Load a fixture model, and return its name."""
    return container.loaded(place(kind, container.models_dir))


def waiting_model(container: ContainerProcess, **settings: float) -> str:
    """Load a model that responds to "wait" once a file `answer` is there, and return its name.

    `settings` go into its polyhost.json.
    """
    name = place("waits_for_a_file", container.models_dir)
    container.mark(name, "load")
    (container.folder(name) / "polyhost.json").write_text(json.dumps(settings))
    return container.loaded(name)


# Batches


def test_requests_are_batched(native: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    name = loaded(native, "batches")

    responses = list(pool.map(lambda body: native.invoke(name, body), ["1", "2", "bad", "3"]))

    assert [response.status_code for response in responses] == [200, 200, 500, 200]
    assert [response.text for response in responses if response.status_code == 200] == ["4"] * 3
    assert responses[2].json()["message"] == "a bad one"
    assert native.metric("polyhost_batch_size_count", model=name) == 1


def test_batch_delay_ends_for_a_single_request(native: ContainerProcess) -> None:
    assert native.invoke(loaded(native, "batches"), "1").text == "1"


def test_batch_size_can_be_set_by_the_environment(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    settings = {"POLYHOST_BATCH_SIZE": "8", "POLYHOST_BATCH_DELAY_MS": "5000", "POLYHOST_ZYGOTES": "bare"}
    with running(tmp_path, "native", **settings) as container:
        name = place("batches", container.models_dir)
        (container.folder(name) / "polyhost.json").unlink()
        container.loaded(name)

        responses = list(pool.map(lambda body: container.invoke(name, body), "12345678"))

        assert [response.text for response in responses] == ["8"] * 8


def test_batch_size_can_be_set_by_the_load_request(native: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    """As with Multi Model Server; the archive of this model says 4."""
    name = place("batches", native.models_dir)
    assert native.load(name, batch_size=3, max_batch_delay=5000).status_code == 200

    responses = list(pool.map(lambda body: native.invoke(name, body), "123"))

    assert [response.text for response in responses] == ["3"] * 3


def test_rows_of_a_batch_go_to_the_estimator_together(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """The estimator returns the number of rows of its call for rows below zero; the first batch is a check."""
    with running(tmp_path, "native", POLYHOST_ZYGOTES="sklearn") as container:
        folder = container.models_dir / "counts" / "model"
        folder.mkdir(parents=True)
        (folder / "polyhost.json").write_text('{"batch_size": 4, "batch_delay_ms": 5000}')
        (folder / "model.pkl").write_bytes(b"ccounts\nCounts\n)\x81.")
        (folder / "counts.py").write_text(
            "import numpy\n"
            "class Counts:\n"
            "    n_features_in_ = 2\n"
            "    def predict(self, rows):\n"
            "        return numpy.where(rows[:, 0] < 0, len(rows), 0)\n"
        )
        container.loaded("counts")

        def invoke(rows: str) -> httpx.Response:
            return container.invoke("counts", rows, content_type="text/csv")

        for bodies, expected in (
            (["1,2", "3,4\n5,6", "7", "8,9"], [[0], [0, 0], [0]]),
            (["-1,2", "-3,4\n-5,6", "-7", "-8,9"], [[4], [4, 4], [4]]),
        ):
            responses = list(pool.map(invoke, bodies))

            assert [response.status_code for response in responses] == [200, 200, 400, 200]
            assert [response.json() for response in responses if response.status_code == 200] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "polyhost.json is not JSON"),
        ("[]", "it must hold an object"),
        ('{"batch": 2}', "unknown key 'batch'; known are batch_size"),
        ('{"batch_size": 0}', "batch_size is 0; it must be a whole number from 1"),
        ('{"queue_size": true}', "queue_size is True"),
        ('{"batch_delay_ms": -1}', "milliseconds from 0 to 60000"),
    ],
)
def test_invalid_serving_options_fail_the_load(native: ContainerProcess, text: str, words: str) -> None:
    name = place("batches", native.models_dir)
    (native.folder(name) / "polyhost.json").write_text(text)

    response = native.load(name)

    assert (response.status_code, response.json()["type"]) == (400, "BadRequestError")
    assert words in response.json()["message"]
    assert name not in native.names()
    native.wait_for_event(response.json()["message"], level="WARNING", model=name)


# Streamed responses


def test_chunks_arrive_as_they_are_yielded(native: ContainerProcess) -> None:
    name = loaded(native, "yields")
    body = {"pieces": 2, "step_by_step": True}

    with native.http.stream("POST", f"/models/{name}/invoke", json=body) as response:
        pieces = response.iter_text()
        assert next(pieces) == "piece 0;"
        native.mark(name, "after-0")
        assert next(pieces) == "piece 1;"
        native.mark(name, "after-1")
        assert list(pieces) == []

    assert response.headers["transfer-encoding"] == "chunked"
    assert response.headers["content-type"] == "text/plain"
    assert native.invoke(name, json.dumps({"pieces": 1})).text == "piece 0;"


def test_failure_before_the_first_chunk_has_its_own_status(native: ContainerProcess) -> None:
    response = native.invoke(loaded(native, "yields"), json.dumps({"pieces": 1, "first": "raise"}))

    assert (response.status_code, response.json()["type"]) == (500, "ValueError")


@pytest.mark.parametrize("then", ["raise", "die"])
def test_failure_after_the_first_chunk_cuts_the_response_off(native: ContainerProcess, then: str) -> None:
    name = loaded(native, "yields")

    with pytest.raises(RequestError, match="peer closed connection without sending complete message body"):
        native.invoke(name, json.dumps({"pieces": 3, "then": then}))

    wait_for(lambda: native.invoke(name, json.dumps({"pieces": 1})).status_code == 200, "an answer")
    words = "some was sent already" if then == "raise" else "exited with status 7"
    assert native.wait_for_event(words, model=name)["level"] == "ERROR"


def test_disconnected_client_ends_the_handlers_generator(native: ContainerProcess) -> None:
    name = loaded(native, "yields")
    body = {"pieces": 1, "then": "go_on"}

    with native.http.stream("POST", f"/models/{name}/invoke", json=body) as response:
        next(response.iter_raw())

    wait_for((native.folder(name) / "ended").exists, "the handler's end")
    assert native.invoke(name, json.dumps({"pieces": 1})).text == "piece 0;"
    assert native.metric("polyhost_worker_restarts_total", model=name) == 0


def test_disconnected_client_ends_no_other_response(native: ContainerProcess) -> None:
    """Not even after quick responses, which let several requests go to the worker at once."""
    name = loaded(native, "yields")
    for _ in range(50):
        native.invoke(name, json.dumps({"pieces": 1}))
    with _stream(native, name, pieces=1, step_by_step=True) as first:
        read_until(first, b"piece 0")
        leaving = _stream(native, name, pieces=1, then="go_on")
        others = [_stream(native, name, pieces=3) for _ in range(2)]
        native.mark(name, "after-0")
        read_until(leaving, b"more")
        leaving.close()

        for client in others:
            with client:
                assert read_until(client, b"").endswith(b"piece 0;piece 1;piece 2;")


def _stream(container: ContainerProcess, name: str, **options: Any) -> socket.socket:
    body = json.dumps(options).encode()
    client = socket.create_connection(("127.0.0.1", container.port), timeout=60)
    client.sendall(b"POST /models/%b/invoke HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % (name.encode(), len(body)) + body)
    return client


def read_until(client: socket.socket, words: bytes) -> bytes:
    """Read until these words have come; to the end for b""."""
    received = b""
    while not (words and words in received) and (piece := client.recv(1 << 16)):
        received += piece
    return received


def test_http_1_0_client_gets_a_stream_without_chunked_coding(native: ContainerProcess) -> None:
    name = loaded(native, "yields")
    body = json.dumps({"pieces": 3}).encode()
    head = f"POST /models/{name}/invoke HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    with socket.create_connection(("127.0.0.1", native.port), timeout=60) as client:
        client.sendall(head + body)
        response = b"".join(iter(lambda: client.recv(65536), b""))

    assert response.endswith(b"\r\n\r\npiece 0;piece 1;piece 2;")
    assert b"chunked" not in response


def test_mms_joins_chunks_to_one_body(tmp_path: Path) -> None:
    with running(tmp_path, "mms", POLYHOST_ZYGOTES="bare") as container:
        name = loaded(container, "yields")

        assert container.invoke(name, json.dumps({"pieces": 3})).text == "piece 0;piece 1;piece 2;"
        assert container.invoke(name, json.dumps({"pieces": 1, "then": "raise"})).status_code == 500


# Queues


def test_queued_request_times_out(native: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    name = waiting_model(native, response_timeout_s=3)
    running_one = pool.submit(native.invoke, name, "wait")
    native.wait_for_mark(name, "waits-for-answer")

    queued_one = pool.submit(native.invoke, name, "wait").result()

    assert queued_one.status_code == 504
    assert running_one.result().status_code == 504
    native.mark(name, "answer")
    assert native.invoke(name, "1").text == "1"


def test_disconnected_client_frees_its_place_in_the_queue(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    settings = {"POLYHOST_ZYGOTES": "bare", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}  # a second would empty the queue
    with running(tmp_path, "native", **settings) as container:
        name = place("waits_for_a_file", container.models_dir)
        container.mark(name, "load")
        (container.folder(name) / "polyhost.json").write_text('{"queue_size": 1}')
        container.loaded(name)
        pool.submit(container.invoke, name, "wait")
        container.wait_for_mark(name, "waits-for-answer")
        with socket.create_connection(("127.0.0.1", container.port)) as client:
            client.sendall(f"POST /models/{name}/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1".encode())
            container.wait_until_queued(name, 1)
        container.wait_until_queued(name, 0)

        accepted = pool.submit(container.invoke, name, "1")
        container.wait_until_queued(name, 1)
        rejected = container.invoke(name, "1")

        container.mark(name, "answer")
        assert accepted.result().status_code == 200
        assert (rejected.status_code, rejected.headers["retry-after"]) == (503, "1")


def test_response_timeout_can_be_set_per_model(native: ContainerProcess) -> None:
    name = place("never_responds", native.models_dir)
    (native.folder(name) / "polyhost.json").write_text('{"response_timeout_s": 0.5}')
    native.loaded(name)

    response = native.invoke(name, "wait")

    assert response.status_code == 504
    assert "0.5 s" in response.json()["message"]


def test_worker_death_fails_only_the_running_request(native: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    """Quick requests go to a worker several at once; those that it has not started go to its successor."""
    name = loaded(native, "exits_in_predict")
    assert {native.invoke(name, "1").status_code for _ in range(100)} == {200}
    bodies = ["die" if number in (150, 300) else str(number) for number in range(450)]

    responses = list(pool.map(lambda body: native.invoke(name, body), bodies))

    served = [response.text for response in responses if response.status_code == 200]
    assert served == [body for body in bodies if body != "die"]
    assert [response.status_code for response in responses if response.status_code != 200] == [500, 500]


def test_batch_is_not_retried_after_worker_death(native: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    name = place("exits_in_predict", native.models_dir)
    (native.folder(name) / "polyhost.json").write_text('{"batch_size": 3, "batch_delay_ms": 500}')
    native.loaded(name)

    responses = list(pool.map(lambda body: native.invoke(name, body), ["die", "die", "die"]))

    assert [response.status_code for response in responses] == [500] * 3
    assert native.invoke(name, "1").status_code == 200
    assert native.metric("polyhost_worker_restarts_total", model=name) == 1


# Loads and unloads


def test_load_waits_for_the_unload_of_the_same_name(native: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    name = waiting_model(native)
    running_one = pool.submit(native.invoke, name, "wait")
    native.wait_for_mark(name, "waits-for-answer")
    unload = pool.submit(native.unload, name)
    wait_for(lambda: native.invoke(name, "1").status_code == 404, "the unload to begin")

    load = pool.submit(native.load, name)
    native.mark(name, "answer")

    assert running_one.result().text == "wait"
    assert (unload.result().status_code, load.result().status_code) == (200, 200)
    assert native.invoke(name, "1").text == "1"


def test_unload_does_not_wait_for_a_disconnected_client(native: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    name = waiting_model(native)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"http://127.0.0.1:{native.port}/models/{name}/invoke", content="wait", timeout=0.5)

    assert pool.submit(native.unload, name).result(30).status_code == 200
    assert not native.workers_of(name)


def test_model_names_may_have_any_characters(native: ContainerProcess) -> None:
    url = str(native.folder(place("echo", native.models_dir)))
    path = "/models/team%2Fcats%20%26%20d%C3%B6gs"

    assert native.load("team/cats & dögs", url).status_code == 200
    assert "team/cats & dögs" in native.names()
    assert native.http.post(f"{path}/invoke", content="1").text == "1"
    assert native.http.get(path).json() == {"modelName": "team/cats & dögs", "modelUrl": url}
    assert native.http.delete(path).status_code == 200


def test_sigterm_lets_requests_finish(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with running(tmp_path, "native", POLYHOST_ZYGOTES="bare") as container:
        name = waiting_model(container)
        running_one = pool.submit(container.invoke, name, "wait")
        container.wait_for_mark(name, "waits-for-answer")

        container.process.terminate()
        wait_for(container.refuses_connections, "connections to be refused")
        container.mark(name, "answer")

        assert running_one.result().text == "wait"
        assert container.process.wait(60) == 0


def test_requests_that_outlast_the_grace_period_are_rejected(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    with running(tmp_path, "native", POLYHOST_ZYGOTES="bare", POLYHOST_FINISH_SECONDS="1") as container:
        name = waiting_model(container)
        calls = [pool.submit(container.invoke, name, "wait") for _ in range(2)]
        container.wait_for_mark(name, "waits-for-answer")
        container.wait_until_queued(name, 1)

        container.process.terminate()

        assert [call.result().status_code for call in calls] == [503, 503]
        assert calls[0].result().json()["type"] == "StoppingError"
        assert container.process.wait(60) == 0


def test_single_model_with_invalid_options_ends_the_container(tmp_path: Path) -> None:
    (tmp_path / "ml" / "model").mkdir(parents=True)
    (tmp_path / "ml" / "model" / "polyhost.json").write_text('{"batch_size": 0}')
    settings = {"SAGEMAKER_MULTI_MODEL": "", "POLYHOST_ZYGOTES": "bare"}
    container = ContainerProcess(tmp_path / "ml", tmp_path / "container.log", "native", **settings)

    assert container.process.wait(60) == 1

    container.stop()
    (event,) = [event for event in container.events(level="ERROR") if "only model" in event["message"]]
    assert "batch_size is 0" in event["message"]


# Workers


def test_busy_model_gets_a_second_worker_for_a_while(native: ContainerProcess, pool: ThreadPoolExecutor) -> None:
    name = loaded(native, "loops_for_a_while")
    deadline = time.monotonic() + 120
    calls: list[Future[httpx.Response]] = []
    while len(native.workers_of(name)) < 2:
        calls = [call for call in calls if not call.done()]
        calls += [pool.submit(native.invoke, name, "0.1") for _ in range(4 - len(calls))]
        assert time.monotonic() < deadline, "no second worker within 120 s"
        time.sleep(0.02)

    assert {call.result().status_code for call in calls} == {200}
    wait_for(lambda: len(native.workers_of(name)) == 1, "one worker again")
    assert native.invoke(name, "0").status_code == 200


def test_number_of_workers_can_be_fixed(tmp_path: Path) -> None:
    with running(tmp_path, "native", POLYHOST_ZYGOTES="bare", SAGEMAKER_MODEL_SERVER_WORKERS="3") as container:
        name = loaded(container, "echo")

        wait_for(lambda: len(container.workers_of(name)) == 3, "three workers")
        assert container.unload(name).status_code == 200
        assert not container.workers_of(name)


# The rest


def test_metrics(native: ContainerProcess) -> None:
    name = loaded(native, "exits_in_predict")
    native.invoke(name, "die")
    native.invoke(name, "1")

    wait_for(lambda: native.metric("polyhost_worker_memory_bytes", model=name), "the worker's memory")

    assert native.metric("polyhost_invocations_total", model=name, status="200") == 1
    assert native.metric("polyhost_invocations_total", model=name, status="500") == 1
    assert native.metric("polyhost_worker_restarts_total", model=name) == 1
    assert native.metric("polyhost_loads_total", model=name) == 1
    assert native.metric("polyhost_predict_seconds_count", model=name) == 2
    assert native.metric("polyhost_load_seconds_total", model=name, phase="handler") is not None
    native.unload(name)
    assert native.metric("polyhost_unloads_total", model=name) == 1
    assert native.metric("polyhost_loaded", model=name) == 0


def test_pipelined_requests_are_answered_in_order(native: ContainerProcess) -> None:
    name = loaded(native, "echo")
    one = b"POST /models/%b/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n" % name.encode()
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"

    with socket.create_connection(("127.0.0.1", native.port), timeout=20) as client:
        requests = b"".join(one + b"%04d" % number + ping for number in range(2000))
        client.sendall(requests.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n")
        responses = b"".join(iter(lambda: client.recv(65536), b""))

    bodies = [part.partition(b"\r\n\r\n")[2] for part in responses.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies[::2] == [b"%04d" % number for number in range(2000)]
    assert bodies[1::2] == [b'{"status": "Healthy"}'] * 2000


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
    ids=["nonsense", "large head", "large body", "two lengths", "HTTP/2"],
)
def test_malformed_requests_are_rejected(native: ContainerProcess, sent: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", native.port), timeout=60) as client:
        client.sendall(sent)
        response = b"".join(iter(lambda: client.recv(65536), b""))

    assert response.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(response.partition(b"\r\n\r\n")[2])["code"] == status
    assert native.http.get("/ping").status_code == 200


@pytest.mark.parametrize("token", ["!!!!", "YQ", "YQ==\n", "/w=="])
def test_invalid_page_token_is_rejected(native: ContainerProcess, token: str) -> None:
    response = native.http.get("/models", params={"next_page_token": token})

    assert (response.status_code, response.json()["type"]) == (400, "BadRequestError")


def test_the_models_folder_itself_is_rejected(native: ContainerProcess) -> None:
    assert native.load("all", str(native.models_dir)).status_code == 400


def test_expect_100_continue(native: ContainerProcess) -> None:
    name = loaded(native, "echo")
    head = f"POST /models/{name}/invoke HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"

    with socket.create_connection(("127.0.0.1", native.port), timeout=60) as client:
        client.sendall(head.encode())
        assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"7")
        assert read_until(client, b"\r\n\r\n7").endswith(b"\r\n\r\n7")


def test_ping_fails_while_the_fork_server_hangs(tmp_path: Path) -> None:
    """A fork server that dies is replaced at once."""
    with running(tmp_path, "native", POLYHOST_ZYGOTES="bare") as container:
        name = loaded(container, "echo")
        fork_server = container.process_of("-m", "polyhost.container.forkserver")
        fork_server.suspend()

        wait_for(lambda: container.http.get("/ping").status_code == 503, "an unhealthy container")

        assert container.invoke(name, "1").text == "1"
        fork_server.resume()
        wait_for(lambda: container.http.get("/ping").status_code == 200, "a healthy container")


def test_loaded_model_outlives_its_folder(native: ContainerProcess) -> None:
    name = loaded(native, "echo")
    shutil.rmtree(native.folder(name))

    assert native.invoke(name, "1").text == "1"
    assert native.unload(name).status_code == 200


# Clients and models that mean harm


def test_aborted_uploads_leave_nothing_in_memory(native: ContainerProcess) -> None:
    """Each was kept until thousands of new connections had led to a garbage collection."""
    front_end = native.process_of("polyhost.container.native")
    before = front_end.memory_info().rss
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", native.port), timeout=60) as client:
            client.sendall(b"POST /models/x/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (24 << 20))
            client.sendall(bytes(16 << 20))

    wait_for(lambda: front_end.memory_info().rss < before + (100 << 20), "the uploads of 480 MB to be freed")


def test_worker_that_forges_a_second_answer_is_replaced(native: ContainerProcess) -> None:
    """Its code finds the connection to the front end, and writes to it what the handler's answer may not hold."""
    folder = native.models_dir / "forger" / "model"
    folder.mkdir(parents=True)
    (folder / "MAR-INF").mkdir()
    (folder / "MAR-INF" / "MANIFEST.json").write_text('{"model": {"handler": "forger.py:handle"}}')
    (folder / "forger.py").write_text(
        "import os\n"
        "from polyhost.container.worker.protocol import encode_predict_reply\n"
        "from polyhost.container.worker.types import Response\n"
        "def handle(data, context):\n"
        "    if data is None:\n"
        "        return\n"
        "    value = 'a\\r\\ncontent-length: 0\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\ncontent-length: 6'\n"
        "    reply = encode_predict_reply([Response(context.get_request_id(0), 200, {'x': value}, b'forged')])\n"
        "    if bytes(data[0]['body']) != b'forge':\n"
        "        return [b'honest']\n"
        "    for name in os.listdir('/proc/self/fd'):\n"
        "        try:\n"
        "            if os.path.basename(os.readlink(f'/proc/self/fd/{name}')).startswith('socket:'):\n"
        "                os.write(int(name), reply)\n"
        "        except OSError:\n"
        "            pass\n"
        "    return [b'honest']\n"
    )
    native.loaded("forger")
    with httpx.Client(base_url=f"http://127.0.0.1:{native.port}", timeout=30) as client:
        forged = client.post("/models/forger/invoke", content="forge")
        assert (forged.status_code, forged.json()["type"]) == (500, "GarbledAnswerError")
        assert "HTTP cannot carry" in forged.json()["message"]
        assert client.get("/ping").json() == {"status": "Healthy"}
        assert client.post("/models/forger/invoke", content="x").text == "honest"
