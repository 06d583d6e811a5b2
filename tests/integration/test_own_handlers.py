"""Handlers of users' own in whole containers: who names them, which Python runs them, what they see of a request."""

import json
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.container import ContainerProcess, running
from tests.support.waiting import wait_for

MANIFEST = "MAR-INF/MANIFEST.json"
HANDLER = """
    import sys
    def handle(data, context):
        return data and [f"archive's {item['body']!r}" for item in data]
    def other(data, context):
        return data and ["the load's" for _ in data]
"""
SETTING = """
    def handle(data, context):
        return data and ["the setting's" for _ in data]
"""

Write = Callable[..., str]


def manifest(handler: str | None = "service:handle", **fields: object) -> str:
    return json.dumps({"model": {"modelName": "m"} | ({"handler": handler} if handler else {}), **fields})


@pytest.fixture(scope="module")
def setting_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("handler") / "setting_handler.py"
    path.write_text(textwrap.dedent(SETTING))
    return path


@pytest.fixture(scope="module")
def served(front: str, setting_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    settings = {
        "SAGEMAKER_HANDLER": f"{setting_file}:handle",
        "MMS_DECODE_INPUT_REQUEST": "true",
        "POLYHOST_ZYGOTES": "bare",
        "POLYHOST_MAX_WORKERS": "1",
    }
    with running(tmp_path_factory.mktemp("own-handlers"), front, **settings) as container:
        yield container


@pytest.fixture
def write(served: ContainerProcess, request: pytest.FixtureRequest) -> Write:
    """`write("suffix", {"file": "text"})` makes a model of this test's own and returns its name."""

    def write(suffix: str, files: dict[str, str]) -> str:
        name = f"{request.node.name}-{suffix}".replace("[", "-").replace("]", "")
        write_files(served.folder(name), files)
        return name

    return write


def write_files(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(textwrap.dedent(text))


@pytest.mark.parametrize("runtime", ["python", "python2", "python3"])
def test_every_runtime_is_a_worker_of_the_fork_server(served: ContainerProcess, write: Write, runtime: str) -> None:
    name = served.loaded(write("m", {"service.py": HANDLER, MANIFEST: manifest(runtime=runtime)}))

    assert served.invoke(name, "1").text == "archive's 1"
    loaded = served.wait_for_event("loaded", model=name)
    assert [worker.pid for worker in served.workers_of(name)] == [loaded["pid"]]
    assert served.unload(name).status_code == 200
    wait_for(lambda: not served.processes_of(name), "the end of its processes")


def test_runtime_that_is_no_python(served: ContainerProcess, write: Write) -> None:
    response = served.load(write("m", {"service.py": HANDLER, MANIFEST: manifest(runtime="java8")}))

    assert response.status_code == 400
    assert "untime" in response.json()["message"]


def test_manifest_setting_and_load_request(served: ContainerProcess, write: Write) -> None:
    named = {"service.py": HANDLER, MANIFEST: manifest()}
    unnamed = {"service.py": HANDLER, MANIFEST: manifest(None)}

    by_manifest = served.loaded(write("manifest", named))
    by_setting = served.loaded(write("setting", unnamed))
    by_load = write("load", named)
    assert served.load(by_load, handler="service:other", runtime="python3").status_code == 200
    by_query = write("query", named)
    query = {
        "model_name": by_query,
        "url": str(served.folder(by_query)),
        "handler": "service.py:other",
        "runtime": "python3",
        "initial_workers": "1",
        "synchronous": "true",
    }
    assert served.http.post("/models", params=query).status_code == 200

    texts = [served.invoke(name, "1").text for name in (by_manifest, by_setting, by_load, by_query)]
    assert texts == ["archive's 1", "the setting's", "the load's", "the load's"]


def test_bodies_are_decoded_as_mms_does(served: ContainerProcess, write: Write) -> None:
    name = served.loaded(write("m", {"service.py": HANDLER, MANIFEST: manifest()}))

    assert served.invoke(name, '{"a": 1}', "application/json; charset=utf-8").text == "archive's {'a': 1}"
    assert served.invoke(name, "1,2", "text/csv").text == "archive's '1,2'"
    assert served.invoke(name, "1", "application/x-npy").text == "archive's bytearray(b'1')"
    response = served.invoke(name, "{", "application/json")
    assert (response.status_code, response.json()["type"]) == (400, "BadBodyError")


def test_status_and_message_of_a_prediction_exception(served: ContainerProcess, write: Write) -> None:
    source = """
        from mms.service import PredictionException
        class Service:
            def handle(self, data, context):
                raise PredictionException("x", data[0]["body"])
    """
    name = served.loaded(write("m", {"service.py": source, MANIFEST: manifest()}))

    for status in (599, 404, 500):
        response = served.invoke(name, str(status))
        assert (response.status_code, response.json()["code"], response.json()["message"]) == (status, status, "x")


def test_package_with_relative_imports(served: ContainerProcess, write: Write) -> None:
    source = "from .a import A\nclass Service:\n    def handle(self, data, context):\n        return [A]\n"
    files = {"pkg/__init__.py": "", "pkg/a.py": "A = 'a'", "pkg/service.py": source}

    for handler in ("pkg.service:handle", "pkg/service.py:handle", "pkg.service:Service"):
        suffix = handler.replace("/", ".")
        name = served.loaded(write(suffix, {**files, MANIFEST: manifest(handler)}))
        assert served.invoke(name, "1").text == "a"


def test_single_model(tmp_path: Path, front: str, setting_file: Path) -> None:
    write_files(tmp_path / "ml" / "model", {"service.py": HANDLER, MANIFEST: manifest(runtime="python3")})
    settings = {
        "SAGEMAKER_MULTI_MODEL": "",
        "SAGEMAKER_HANDLER": f"{setting_file}:handle",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "POLYHOST_ZYGOTES": "bare",
    }
    with running(tmp_path, front, **settings) as container:

        def invoke() -> httpx.Response:
            return container.http.post("/invocations", content="1", headers={"content-type": "application/json"})

        wait_for(lambda: invoke().status_code == 200, "a response")
        assert invoke().text == "archive's bytearray(b'1')"
        container.wait_for_event("loaded", model="model")


# Batches

SEES = """
    def model_fn(model_dir):
        return "model"

    def transform_fn(model, body, content_type, accept, context):
        number = context.get_request_header(0, "x-number")
        attributes = context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes")
        context.set_response_header(0, "x-set", number)
        context.set_response_status(210 + int(number), "", 0)
        return f"{number} {attributes} {bytes(body).decode()}", "x/type-" + number
"""
TOOLKIT = """
    from sagemaker_inference.default_handler_service import DefaultHandlerService

    class HandlerService(DefaultHandlerService):
        pass
"""
BY_INDEX = """
    class Service:
        def handle(self, data, context):
            return [self.one(index, item["body"], context) for index, item in enumerate(data)]

        def one(self, index, body, context):
            number = context.get_request_header(index, "x-number")
            attributes = context.get_request_header(index, "X-Amzn-SageMaker-Custom-Attributes")
            context.set_response_header(index, "x-set", number)
            context.set_response_content_type(index, "x/type-" + number)
            context.set_response_status(210 + int(number), "", index)
            return f"{number} {attributes} {bytes(body).decode()}"
"""
BATCHES = '{"batch_size": 8, "batch_delay_ms": 200, "queue_size": 100}'
ARCHIVES = {
    "script": {"code/inference.py": SEES},
    "toolkit": {
        "handler_service.py": TOOLKIT,
        "code/inference.py": SEES,
        MANIFEST: manifest("handler_service:handle"),
    },
    "own": {"service.py": BY_INDEX, MANIFEST: manifest()},
}


@pytest.fixture(scope="module")
def batching(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    settings = {"POLYHOST_ZYGOTES": "bare", "POLYHOST_MAX_WORKERS": "1"}
    with running(tmp_path_factory.mktemp("own-batches"), front, **settings) as container:
        yield container


@pytest.mark.parametrize("kind", ARCHIVES)
def test_concurrent_callers_get_their_own(batching: ContainerProcess, kind: str) -> None:
    """The native front end takes the size of batches from the archive, MMS from the load request."""
    write_files(batching.folder(kind), {**ARCHIVES[kind], "polyhost.json": BATCHES})
    assert batching.load(kind, batch_size=8, max_batch_delay=200).status_code == 200

    def invoke(number: int) -> httpx.Response:
        headers = {"x_number": f"{number}", "x_amzn_sagemaker_custom_attributes": f"n={number}"}
        return batching.invoke(kind, f"body-{number}", "application/octet-stream", **headers)

    with ThreadPoolExecutor(40) as callers:
        responses = list(callers.map(invoke, range(40)))

    for number, response in enumerate(responses):
        assert response.text == f"{number} n={number} body-{number}"
        assert response.status_code == 210 + number
        assert (response.headers["x-set"], response.headers["content-type"]) == (f"{number}", f"x/type-{number}")
    if batching.native:
        batches = batching.metric("polyhost_batch_size_count", model=kind)
        assert batches is not None and batches < 40
