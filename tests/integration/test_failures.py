"""Models that fail, one behaviour each (tests/models): the caller gets the reason, and other models are unaffected."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.container import ContainerProcess, running
from tests.support.models import place
from tests.support.waiting import wait_for

NewModel = Callable[[str], str]

# Kind, the status with each front end, and words of the reason in the log. MMS responds 500 to all but memory errors,
# with a body that has no reason; the native front end's has the message of the log.
LOAD_FAILURES = [
    ("raises_on_import", 500, 500, "this script never works"),
    ("raises_in_load", 500, 500, "these weights are damaged"),
    ("class_handler_raises", 500, 500, "this class has no weights"),
    ("no_functions", 500, 400, "has no model_fn"),
    ("needs_a_missing_module", 500, 400, "a_missing_module"),
    ("names_a_missing_handler", 500, 400, "missing_handler.py"),
    ("empty", 500, 400, "README.txt"),
    ("two_frameworks", 500, 400, "mxnet, sklearn"),
    ("exits_in_load", 500, 500, "exited with status 3 while loading the model"),
    ("calls_sys_exit_in_load", 500, 500, "sys.exit('nothing to do here')"),
    ("killed_in_load", 500, 500, "was killed (SIGKILL) while loading the model"),
    ("exits_before_its_reply", 500, 500, "exited with status 3 while loading the model"),
    ("killed_before_its_reply", 500, 500, "was killed (SIGKILL) while loading the model"),
    ("segfaults_before_its_reply", 500, 500, "died of SIGSEGV while loading the model"),
    ("out_of_memory_in_load", 507, 507, "MemoryError"),
    ("class_handler_out_of_memory", 507, 507, "MemoryError"),
    ("mxnet_out_of_memory_text", 507, 507, "Failed to allocate CPU Memory"),
    ("cuda_out_of_memory_text", 507, 507, "CUDA out of memory"),
]

# Kind, status, type and words of the message in the response.
PREDICT_FAILURES = [
    ("raises_in_predict", 500, "ValueError", "this body makes no sense"),
    ("out_of_memory_in_predict", 507, "MemoryError", "MemoryError"),
    ("returns_unserialisable", 500, "WrongAnswerError", "object"),
    ("returns_wrong_length", 500, "BadAnswerError", "2 items for 1 request"),
    ("returns_a_string", 500, "BadAnswerError", "must return a list"),
    ("returns_an_object", 500, "BadAnswerError", "type object"),
    ("returns_an_exception", 418, "Teapot", "short and stout"),
    ("killed_in_predict", 500, "WorkerDiedError", "was killed (SIGKILL) while handling a request"),
    ("segfaults_in_predict", 500, "WorkerDiedError", "died of SIGSEGV while handling a request"),
    ("exits_in_predict", 500, "WorkerDiedError", "exited with status 7 while handling a request"),
    ("calls_sys_exit_in_predict", 500, "WorkerDiedError", "exited with status 5 while handling a request"),
]


@pytest.fixture
def neighbour(container: ContainerProcess, new_model: NewModel) -> Iterator[str]:
    """Load a healthy model, and check afterwards that the same process still serves it."""
    name = container.loaded(new_model("describes_itself"))
    pid = container.invoke(name).json()["pid"]
    yield name
    assert container.invoke(name).json()["pid"] == pid


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize(("kind", "mms", "native", "words"), LOAD_FAILURES)
def test_failed_load(
    container: ContainerProcess, new_model: NewModel, kind: str, mms: int, native: int, words: str
) -> None:
    name = new_model(kind)

    response = container.load(name)

    assert response.status_code == (native if container.native else mms)
    if container.native:
        assert container.wait_for_event(response.json()["message"], model=name)

    wait_for(lambda: name not in container.names(), f"{name} unregistered")
    assert container.invoke(name).status_code == 404
    assert container.unload(name).status_code == 404
    assert not container.processes_of(name)
    assert container.wait_for_event(words, model=name)["level"] == "ERROR"


@pytest.mark.usefixtures("neighbour")
def test_load_works_after_one_whose_worker_died_before_its_reply(
    container: ContainerProcess, new_model: NewModel
) -> None:
    name = new_model("killed_before_its_reply")
    assert container.load(name).status_code == 500
    assert container.load(name).status_code == 500
    script = container.folder(name) / "inference.py"
    script.write_text(script.read_text().replace("sys.setprofile(end)", "pass"))

    container.loaded(name)

    assert container.invoke(name, "1", content_type="text/plain").text == "1"


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize(("kind", "status", "error", "words"), PREDICT_FAILURES)
def test_failed_predict(
    container: ContainerProcess, new_model: NewModel, kind: str, status: int, error: str, words: str
) -> None:
    name = container.loaded(new_model(kind))

    response = container.invoke(name, "die", content_type="text/csv")

    assert response.status_code == status
    body = response.json()
    assert (body["code"], body["type"], body["model"]) == (status, error, name)
    assert words in body["message"]
    assert container.wait_for_event(body["message"], model=name)["level"] == ("WARNING" if status < 500 else "ERROR")


@pytest.mark.parametrize(
    "head",
    [
        {"status": 1000},
        {"status": 100},
        {"status": -5},
        {"status": "created"},
        {"phrase": "Made\nX-Injected: 1"},
        {"headers": {"X-Own": "1\r\nX-Injected: 1"}},
        {"headers": {"Content-Type": "text/plain\n"}},
        {"headers": {"X Own": "1"}},
        {"headers": {"": "1"}},
    ],
    ids=str,
)
def test_invalid_status_or_header_is_an_error(
    container: ContainerProcess, new_model: NewModel, head: dict[str, object]
) -> None:
    """MMS would send a malformed response, or none."""
    name = container.loaded(new_model("sets_status_and_headers"))

    response = container.invoke(name, json.dumps(head))

    assert (response.status_code, response.json()["type"]) == (500, "BadAnswerError")
    assert "X-Injected" not in response.headers
    assert container.invoke(name, json.dumps({"headers": {"X-Own": "1"}})).headers["x-own"] == "1"


def test_last_output_of_native_code_is_in_the_message(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("exits_in_predict"))

    assert container.invoke(name, "die").json()["message"].endswith("last output: the last output")


def test_segmentation_fault_is_logged_with_a_traceback(container: ContainerProcess, new_model: NewModel) -> None:
    name = container.loaded(new_model("segfaults_in_predict"))

    container.invoke(name, "die")

    event = container.wait_for_event("died of SIGSEGV", model=name)
    assert any("transform_fn" in line for line in event["output"])


def test_manifest_that_is_not_json(container: ContainerProcess, new_model: NewModel) -> None:
    """MMS reads the manifest first, and rejects the load itself."""
    name = new_model("manifest_is_not_json")

    response = container.load(name)

    kind = "HandlerNotFoundError" if container.native else "InvalidModelException"
    assert (response.status_code, response.json()["type"]) == (400, kind)
    assert name not in container.names()


# Unusual models that work


@pytest.mark.parametrize(
    ("kind", "response"), [("function_over_a_class", "ABC"), ("class_handler", "abc!"), ("echo", "abc")]
)
def test_shapes_of_handlers(container: ContainerProcess, new_model: NewModel, kind: str, response: str) -> None:
    name = container.loaded(new_model(kind))

    assert container.invoke(name, "abc", content_type="text/plain").text == response


def test_models_get_their_own_modules(container: ContainerProcess, new_model: NewModel) -> None:
    """Their names are those of polyhost's folders, and of another model's modules."""
    first, second = new_model("own_modules"), new_model("own_modules")
    (container.models_dir / second / "model" / "helpers" / "words.py").write_text('JOINER = " or "\n')

    for name in (first, second):
        container.loaded(name)

    assert container.invoke(first).text == "my container and my handlers"
    assert container.invoke(second).text == "my container or my handlers"


def test_models_get_their_own_folders(container: ContainerProcess, new_model: NewModel) -> None:
    names = [container.loaded(new_model("describes_itself")) for _ in range(2)]

    first, second = (container.invoke(name).json() for name in names)

    assert [first["cwd"], second["cwd"]] == [str(container.models_dir / name / "model") for name in names]
    assert first["temp_dir"] != second["temp_dir"]
    container.unload(names[0])
    wait_for(lambda: not Path(first["temp_dir"]).exists(), "the end of the unloaded model's temp folder")
    assert Path(second["temp_dir"]).exists()


# Deaths in a row


@pytest.fixture(scope="module")
def lone(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    with running(tmp_path_factory.mktemp("lone-container"), front, POLYHOST_ZYGOTES="bare") as started:
        yield started


def test_model_that_always_exits_backs_off_and_recovers(lone: ContainerProcess) -> None:
    name = lone.loaded(place("always_exits", lone.models_dir))

    responses = [lone.invoke(name, "1") for _ in range(4)]

    assert [response.status_code for response in responses] == [500, 500, 500, 503]
    assert "failed 3 times in a row; backing off for 1 s" in responses[3].json()["message"]
    assert "exited with status 9" in responses[3].json()["message"]
    assert name in lone.names()
    (lone.models_dir / name / "model" / "well").touch()
    wait_for(lambda: lone.invoke(name, "1").status_code == 200, "the model's recovery")
    assert [lone.invoke(name, "1").status_code for _ in range(5)] == [200] * 5
    assert lone.unload(name).status_code == 200


def test_model_that_cannot_be_reloaded(lone: ContainerProcess) -> None:
    """Its worker has died and a new one cannot load it: requests fail with the reason until one can."""
    name = lone.loaded(place("loads_once", lone.models_dir))
    assert lone.invoke(name, "die").status_code == 500

    response = wait_for(
        lambda: _when(lone.invoke(name, "1", content_type="text/csv"), 503), "an answer that says why", 10
    )

    assert "it cannot be loaded a second time" in response.json()["message"]
    (lone.models_dir / name / "model" / "loaded").unlink()
    wait_for(lambda: _when(lone.invoke(name, "1"), 200), "the model's recovery")
    assert lone.unload(name).status_code == 200


def _when(response: httpx.Response, status: int) -> httpx.Response | None:
    return response if response.status_code == status else None
