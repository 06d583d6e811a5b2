"""What a call sees of its request and sets of its response, through MMS's context: its own, in a batch too."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mms.context import Context, RequestProcessor

from polyhost.container.worker.model import Model, ModelSpec
from polyhost.container.worker.types import Request
from polyhost.handlers import service
from tests.container.worker.calls import failure, request
from tests.container.worker.conftest import Write

pytestmark = pytest.mark.usefixtures("own_imports")

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@pytest.fixture(autouse=True)
def own_service() -> Iterator[None]:
    """Forget the model that the process's service has loaded."""
    yield
    sys.modules.pop("inference", None)
    service._service = service.Service()


@pytest.fixture
def serve(folder: Path, write: Write) -> Callable[[str], Model]:
    def serve(script: str) -> Model:
        service._service = service.Service()
        write("inference.py", script)
        return Model.load(ModelSpec("m", folder, batch_size=8))

    return serve


Serve = Callable[[str], Model]


def requests(count: int) -> list[Request]:
    """Return requests that say in body and headers who they are; names of headers differ in case."""
    return [
        request(
            f"{number}".encode(),
            number=number,
            headers={
                "Content-Type" if number % 2 else "content-type": "text/plain",
                "Accept": f"x/{number}",
                ATTRIBUTES: f"n={number}",
                "x-number": f"{number}",
            },
        )
        for number in range(count)
    ]


SEES = """
    import json
    seen = {}
    def model_fn(model_dir, context):
        seen["context"] = context
        return "model"
    def sees(context, name):
        return {
            "function": name,
            "number": context.get_request_header(0, "X-Number"),
            "all": context.get_all_request_header(0)["x-number"],
            "attributes": context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes"),
            "id": context.get_request_id(0),
            "processors": len(context.request_processor),
            "processor": context.request_processor[0].get_request_property("x-number"),
            "kept": seen["context"].get_request_header(0, "x-number"),
        }
"""
SCRIPTS = {
    "transform_fn": """
    def transform_fn(model, body, content_type, accept, context):
        set_all(context, bytes(body).decode())
        return json.dumps(sees(context, "transform_fn")), "x/type-" + bytes(body).decode()
    """,
    "output_fn": """
    def input_fn(body, content_type, context):
        return bytes(body).decode()
    def predict_fn(data, model, context):
        set_all(context, data)
        return sees(context, "output_fn"), data
    def output_fn(prediction, accept):
        return json.dumps(prediction[0]), "x/type-" + prediction[1]
    """,
    "by parts": """
    def input_fn(body, content_type, context):
        context.set_response_header(0, "x-set", context.get_request_header(0, "x-number"))
        return bytes(body).decode()
    def predict_fn(data, model, context):
        context.set_response_status(201 + int(data), "phrase " + data, 0)
        return data
    def output_fn(prediction, accept, context):
        return json.dumps(sees(context, "by parts")), "x/type-" + prediction
    """,
    "generator": """
    def transform_fn(model, body, content_type, accept, context):
        set_all(context, bytes(body).decode())
        context.set_response_content_type(0, "x/type-" + bytes(body).decode())
        yield "["
        yield json.dumps(sees(context, "generator"))
        yield "]"
    """,
}
SET_ALL = """
    def set_all(context, body):
        context.set_response_header(0, "x-set", body)
        context.set_response_status(201 + int(body), "phrase " + body, 0)
"""


@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("count", [1, 3, 8])
def test_scripts_see_and_set_their_own(serve: Serve, kind: str, count: int) -> None:
    model = serve(SEES + SET_ALL + SCRIPTS[kind])

    for _ in range(2):  # nothing of the first batch is left for the second
        sent = requests(count)
        responses = [model.buffered(*pair) for pair in zip(sent, model.predict(sent), strict=True)]

        for number, response in enumerate(responses):
            seen = json.loads(response.body)
            seen = seen[0] if kind == "generator" else seen
            assert {**seen, "function": kind} == {
                "function": kind,
                "number": f"{number}",
                "all": f"{number}",
                "attributes": f"n={number}",
                "id": f"r{number}",
                "processors": 1,
                "processor": f"{number}",
                "kept": f"{number}",
            }
            assert (response.id, response.status, response.phrase) == (f"r{number}", 201 + number, f"phrase {number}")
            assert response.headers["x-set"] == f"{number}"
            if kind != "generator":  # a generator's type is that of Accept
                assert response.headers["content-type"] == f"x/type-{number}"


def test_what_one_call_sets_reaches_no_other(serve: Serve) -> None:
    model = serve("""
        def model_fn(model_dir):
            return 0
        def transform_fn(model, body, content_type, accept, context):
            if body == b"1":
                context.set_response_header(0, "x-set", "1")
                context.set_all_response_status(418, "teapot")
            if body == b"2":
                raise ValueError("the third")
            return b"", "text/plain"
    """)

    responses = model.predict(requests(4))

    assert [response.status for response in responses] == [200, 418, 500, 200]
    assert [response.headers.get("x-set") for response in responses] == [None, "1", None, None]
    assert failure(responses[2])[2] == "the third"


def test_metrics_are_the_calls_own(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    model = serve("""
        def model_fn(model_dir):
            return 0
        def transform_fn(model, body, content_type, accept, context):
            context.metrics.add_counter("seen", int(body), 0)
            return b"", "text/plain"
    """)
    with caplog.at_level("INFO"):
        model.predict(requests(3))

    metrics = [vars(record)["details"]["metrics"] for record in caplog.records if record.getMessage() == "metrics"]
    assert len(metrics) == 3
    for number, [metric] in enumerate(metrics):
        assert f"seen.Count:{number}|" in metric and f"r{number}" in metric


def test_a_batch_of_another_worker_than_ours(serve: Serve, folder: Path) -> None:
    """MMS's own gives the service a batch as it is."""
    serve(
        SET_ALL
        + """
    def model_fn(model_dir):
        return 0
    def transform_fn(model, body, content_type, accept, context):
        set_all(context, bytes(body).decode())
        return context.get_request_header(0, "x-number") + context.get_request_id(), "x/type-" + bytes(body).decode()
    """
    )
    context = Context("m", str(folder), None, 8, None, "1.1.11")
    sent = requests(3)
    context.request_ids = {index: item.id for index, item in enumerate(sent)}
    context.request_processor = [RequestProcessor(dict(item.headers)) for item in sent]

    items = service.handle([dict(item.parameters) for item in sent], context)

    assert items == ["0r0", "1r1", "2r2"]
    assert [context.get_response_status(index) for index in range(3)] == [
        (201, "phrase 0"),
        (202, "phrase 1"),
        (203, "phrase 2"),
    ]
    assert [context.get_response_content_type(index) for index in range(3)] == ["x/type-0", "x/type-1", "x/type-2"]


# Users' own handlers get the batch, and tell its requests apart by their index, as with MMS.


def test_own_handlers_see_and_set_by_index(folder: Path, write: Write) -> None:
    write(
        "h.py",
        """
        class Service:
            def handle(self, data, context):
                for index, item in enumerate(data):
                    number = context.get_request_header(index, "x-number")
                    assert number == bytes(item["body"]).decode() == context.get_request_id(index)[1:]
                    context.set_response_header(index, "x-set", number)
                    context.set_response_content_type(index, "x/type-" + number)
                    if index:
                        context.set_response_status(201 + index, "", index)
                return [str(len(data)) for _ in data]
        """,
    )
    model = Model.load(ModelSpec("m", folder, "h.py", batch_size=8))

    for count in (8, 3):
        responses = model.predict(requests(count))
        assert [response.body for response in responses] == [b"%d" % count] * count
        assert [response.headers for response in responses] == [
            {"x-set": f"{number}", "content-type": f"x/type-{number}"} for number in range(count)
        ]
        assert [response.status for response in responses] == [200, *range(202, 201 + count)]


@pytest.mark.parametrize(
    ("calls", "headers"),
    [
        (["set_response_header(0, 'X-A', 1)", "set_response_header(0, 'x-a', 2)"], {"x-a": "2"}),
        (["set_response_content_type(0, 'a/a')", "set_response_header(0, 'Content-Type', 'b/b')"], "b/b"),
        (["set_response_header(0, 'Content-Type', 'b/b')", "set_response_content_type(0, 'a/a')"], "a/a"),
        (["set_response_header(0, 'CONTENT-TYPE', 'b/b')"], "b/b"),
        (["set_response_header(0, 'Content-Length', 5)", "set_response_header(0, 'X-B', 2)"], {"X-B": "2"}),
    ],
)
@pytest.mark.parametrize("body", ["b''", "{}"])
def test_names_of_headers_differ_by_more_than_case(
    folder: Path, write: Write, calls: list[str], headers: object, body: str
) -> None:
    source = "".join(f"        context.{call}\n" for call in calls)
    write("h.py", f"class S:\n    def handle(self, data, context):\n{source}        return [{body}]\n")
    (response,) = Model.load(ModelSpec("m", folder, "h.py")).predict([request()])

    expected = {"content-type": headers} if isinstance(headers, str) else headers
    if body == "{}" and not isinstance(headers, str):
        expected = {**headers, "content-type": "application/json"}  # type: ignore[dict-item]
    assert response.headers == expected
