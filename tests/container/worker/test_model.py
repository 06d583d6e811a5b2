"""MMS's handler interface in this process: finding the handler, loading, calling, and every way to break it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyhost.container.errors import LoadError, ResponseTooLargeError
from polyhost.container.worker.model import Model, ModelSpec
from polyhost.container.worker.types import Request, Response
from tests.container.worker.calls import failure, request, respond
from tests.container.worker.conftest import Write

pytestmark = pytest.mark.usefixtures("own_imports")


@pytest.fixture
def load(folder: Path, write: Write) -> Callable[..., Model]:
    """Load a handler file of this source."""

    def load(source: str, **spec: Any) -> Model:
        write("h.py", source)
        return Model.load(ModelSpec("m", folder, **{"handler": "h.py", **spec}), spec.pop("limit", None))

    return load


def load_error(load: Callable[[], Model]) -> LoadError:
    with pytest.raises(LoadError) as caught:
        load()
    return caught.value


# Finding and loading


@pytest.mark.parametrize("handler", ["h.py", "h.py:handle", "h", "h:handle", "sub/h.py", "code/h.py", "lib.h:other"])
def test_ways_to_name_a_handler(folder: Path, write: Write, handler: str) -> None:
    source = "def handle(data, context): return data and [__file__]\nother = handle"
    for name in ("sub/h.py", "lib/h.py", "code/h.py" if "code" in handler else "h.py"):
        write(name, source)

    body = respond(Model.load(ModelSpec("m", folder, handler))).body.decode()
    assert body.startswith(str(folder)) and body.endswith("h.py")


def test_function_is_called_once_without_data_to_load(load: Callable[..., Model], folder: Path) -> None:
    model = load(
        """
        loads = []
        def handle(data, context):
            if data is None:
                loads.append(context.system_properties)
                return None
            return [loads]
        """,
        batch_size=4,
        gpu_id=1,
    )

    (properties,) = json.loads(respond(model).body)
    assert (properties["model_dir"], properties["batch_size"], properties["gpu_id"]) == (str(folder), 4, 1)


def test_class_is_initialised_before_requests(load: Callable[..., Model]) -> None:
    model = load("""
        from json import JSONDecoder  # a class that is not the module's own
        class Service:
            def initialize(self, context):
                self.name = context.model_name
            def handle(self, data, context):
                return [self.name]
    """)

    assert respond(model).body == b"m"


def test_handler_of_the_manifest(folder: Path, write: Write) -> None:
    write("MAR-INF/MANIFEST.json", '{"model": {"handler": "mine.py:answer"}}')
    write("mine.py", "def answer(data, context): return data and [context.manifest['model']['handler']]")

    assert respond(Model.load(ModelSpec("m", folder))).body == b"mine.py:answer"


def test_archive_may_have_a_module_handlers(load: Callable[..., Model], write: Write) -> None:
    write("handlers.py", "name = 'the model has this name'")
    model = load("import handlers\ndef handle(data, context): return data and [handlers.name]")

    assert respond(model).body == b"the model has this name"


def test_handler_file_may_have_the_name_of_a_module_it_imports(folder: Path, write: Write) -> None:
    write("json.py", "import json\ndef handle(data, context): return data and [json.dumps([1])]")

    assert respond(Model.load(ModelSpec("m", folder, "json.py"))).body == b"[1]"


@pytest.mark.parametrize(
    ("source", "status", "type_", "words"),
    [
        ("raise ValueError('at import')", 500, "ValueError", "at import"),
        ("def handle(data, context): raise MemoryError()", 507, "MemoryError", "MemoryError"),
        ("def handle(data, context): open('/no/such')", 500, "FileNotFoundError", "/no/such"),
        ("import no_such_module", 500, "ModuleNotFoundError", "no_such_module"),
        ("def handle(", 500, "SyntaxError", "h.py"),
        ("x = 1", 400, "HandlerNotFoundError", "classes found: none"),
        ("class A:\n handle = print\nclass B(A): pass", 400, "HandlerNotFoundError", "classes found: A, B"),
        ("class A:\n def initialize(self, c): raise MemoryError('big')\n handle = print", 507, "MemoryError", "big"),
        ("def handle(): pass", 500, "TypeError", "positional argument"),
    ],
)
def test_failed_load_has_a_reason(load: Callable[..., Model], source: str, status: int, type_: str, words: str) -> None:
    error = load_error(lambda: load(source))

    assert (error.status, error.type) == (status, type_)
    assert words in str(error)
    assert error.__cause__ is not None


@pytest.mark.parametrize("handler", ["missing.py", "missing", "missing.module:f", "h.py:missing"])
def test_missing_handler(load: Callable[..., Model], handler: str) -> None:
    error = load_error(lambda: load("def handle(data, context): pass", handler=handler))

    assert (error.status, error.type) == (400, "HandlerNotFoundError")
    assert handler in str(error)


@pytest.mark.parametrize("manifest", ["{", "caf\udce9"])
def test_unreadable_manifest(folder: Path, write: Write, manifest: str) -> None:
    write("MAR-INF/MANIFEST.json", "")
    (folder / "MAR-INF/MANIFEST.json").write_bytes(manifest.encode(errors="surrogateescape"))

    error = load_error(lambda: Model.load(ModelSpec("m", folder)))
    assert (error.status, "MANIFEST.json is not JSON" in str(error)) == (400, True)


# Calling


def calling(load: Callable[..., Model], expression: str, **spec: Any) -> Model:
    return load(f"class S:\n def handle(self, data, context): return {expression}", **spec)


@pytest.mark.parametrize(
    ("value", "body", "content_type"),
    [
        ("b'\\x00'", b"\x00", None),
        ("bytearray(b'x')", b"x", None),
        ("memoryview(b'x')", b"x", None),
        ("'größe'", "größe".encode(), None),
        ("{'a': [1]}", b'{\n  "a": [\n    1\n  ]\n}', "application/json"),
        ("None", b"null", "application/json"),
        ("float('nan')", b"NaN", "application/json"),  # as MMS
        ("{__import__('numpy').int64(1): {2}}", b'{\n  "1": [\n    2\n  ]\n}', "application/json"),
        ("[__import__('datetime').date(2024, 2, 29)]", b'[\n  "2024-02-29"\n]', "application/json"),
        ("{'a': __import__('decimal').Decimal('0.5')}", b'{\n  "a": 0.5\n}', "application/json"),
    ],
)
def test_return_value_becomes_the_body(
    load: Callable[..., Model], value: str, body: bytes, content_type: str | None
) -> None:
    response = respond(calling(load, f"[{value}]"))

    assert (response.id, response.status, response.body) == ("r1", 200, body)
    assert response.headers.get("content-type") == content_type


def test_handler_reads_and_sets_headers(load: Callable[..., Model]) -> None:
    model = load("""
        class S:
            def handle(self, data, context):
                context.set_response_status(202, "later", 0)
                context.set_response_content_type(0, "text/x")
                context.set_response_header(0, "x-count", 3)
                return [context.get_request_header(0, "Accept").encode() + data[0]["body"]]
    """)
    response = respond(model, b"-body", Accept="a/b")

    assert (response.status, response.phrase, response.body) == (202, "later", b"a/b-body")
    assert response.headers == {"content-type": "text/x", "x-count": "3"}


@pytest.mark.parametrize("body", ["'Traceback: no weights'", "b'Traceback: no weights'", "iter(['Traceback: ', 'x'])"])
def test_failure_that_a_handler_reports_itself_is_logged(
    load: Callable[..., Model], caplog: pytest.LogCaptureFixture, body: str
) -> None:
    """As SageMaker's toolkit does, which responds with the traceback and logs nothing."""
    model = calling(load, f"[context.set_response_status(503, 'busy', 0)] and [{body}]")
    assert respond(model).status == 503
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage().startswith("the handler responds with status 503: Traceback: ")


def test_headers_and_status_do_not_reach_the_next_request(load: Callable[..., Model]) -> None:
    model = load("""
        class S:
            def handle(self, data, context):
                if data[0]["body"]:
                    context.set_response_status(400, "", 0)
                    context.set_response_content_type(0, "text/x")
                return [b""]
    """)
    assert respond(model, b"x").status == 400

    assert (respond(model).status, respond(model).headers) == (200, {})


def test_error_of_one_item_affects_no_other(load: Callable[..., Model]) -> None:
    model = calling(load, "[b'one', ValueError('bad'), [object()], b'four']")
    responses = model.predict([request(number=number) for number in range(1, 5)])

    assert [(item.id, item.status) for item in responses] == [("r1", 200), ("r2", 500), ("r3", 500), ("r4", 200)]
    assert failure(responses[1]) == (500, "ValueError", "bad")
    assert "holds a object, which cannot be written" in failure(responses[2])[2]


@pytest.mark.parametrize(
    ("expression", "status", "type_", "words"),
    [
        ("1 / 0", 500, "ZeroDivisionError", "division by zero"),
        ("bytearray(1 << 62)", 507, "MemoryError", "MemoryError"),
        ("b''", 500, "BadAnswerError", "object of type bytes; it must return a list"),
        ("None", 500, "BadAnswerError", "NoneType"),
        ("[]", 500, "BadAnswerError", "0 items for 2 requests"),
        ("['\\udce9', '\\udce9']", 500, "BadAnswerError", "surrogates"),
    ],
)
def test_error_of_the_handler_fails_all_requests(
    load: Callable[..., Model], expression: str, status: int, type_: str, words: str
) -> None:
    responses = calling(load, expression).predict([request(number=1), request(number=2)])

    assert [failure(response)[:2] for response in responses] == [(status, type_)] * 2
    assert words in failure(responses[0])[2]


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        ("context.set_response_status('400', '', 0)", "the status '400'"),
        ("context.set_response_status(1 << 40, '', 0)", "from 200 to 599"),
        ("context.set_response_status(100, '', 0)", "the status 100"),
        ("context.set_response_status(400, 'two\\nlines', 0)", "two"),
        ("context.set_response_header(0, 5, 'x')", "the header 5"),
        ("context.set_response_header(0, 'a b', 'x')", "the header 'a b'"),
        ("context.set_response_header(0, 'x', '\\udce9')", "the header 'x'"),
        ("context.set_response_header(0, 'x', 'a\\r\\nSet-Cookie: b')", "Set-Cookie"),
        ("context.set_response_status(200, 'x' * 1001, 0)", "a phrase of 1001 characters"),
        ("context.set_response_header(0, 'x', 'a' * 25_000)", "1 headers of 25001 bytes"),
        ("[context.set_response_header(0, f'x-{n}', '') for n in range(101)]", "101 headers"),
    ],
)
def test_status_or_header_that_cannot_be_sent(load: Callable[..., Model], misuse: str, words: str) -> None:
    status, type_, message = failure(respond(calling(load, f"[{misuse}] and [b'']")))

    assert (status, type_, words in message) == (500, "BadAnswerError", True)


def test_status_set_to_none_is_200(load: Callable[..., Model]) -> None:
    response = respond(calling(load, "[context.set_response_status(None, None, 0)] and [b'']"))

    assert (response.status, response.phrase) == (200, "OK")


def test_chunk_above_the_limit_ends_the_stream(folder: Path, write: Write) -> None:
    write("h.py", "class S:\n def handle(self, data, context): return iter([b'x' * 100, b'x' * 101])")
    response = respond(Model.load(ModelSpec("m", folder, "h.py"), 100))

    assert response.chunks is not None
    with pytest.raises(ResponseTooLargeError, match="101 bytes, the limit is 100"):
        next(response.chunks)


def test_message_that_no_response_can_hold_is_cut(load: Callable[..., Model]) -> None:
    message = failure(respond(calling(load, "[ValueError('x' * 2_000_000)]")))[2]

    assert message == "x" * 10_000 + "..."


def test_response_above_the_limit_names_the_setting(folder: Path, write: Write) -> None:
    write("h.py", "class S:\n def handle(self, data, context): return [b'x' * int(data[0]['body'])]")
    model = Model.load(ModelSpec("m", folder, "h.py"), 100)

    assert respond(model, b"100").status == 200
    status, type_, message = failure(respond(model, b"101"))
    assert (status, type_) == (500, "ResponseTooLargeError")
    assert "101 bytes, the limit is 100; raise SAGEMAKER_MAX_REQUEST_SIZE" in message


# The log


def test_only_server_errors_are_logged_with_a_traceback(
    load: Callable[..., Model], caplog: pytest.LogCaptureFixture
) -> None:
    model = load("""
        class Rejection(Exception):
            status = 415
        class S:
            def handle(self, data, context):
                return [Rejection("no"), ValueError("broken")]
    """)
    model.predict([request(number=1), request(number=2)])

    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [
        ("WARNING", False),
        ("ERROR", True),
    ]
    assert [record.getMessage() for record in caplog.records] == ["415 Rejection: no", "500 ValueError: broken"]


def test_target_model_is_found_in_any_case() -> None:
    assert request(headers={"x-AMZN-sagemaker-Target-Model": "a.tar.gz"}).target_model == "a.tar.gz"
    assert request().target_model is None


# Streamed responses


def call(model: Model, body: bytes = b"") -> tuple[Request, Response]:
    request = Request("r", {}, {"body": body})
    (response,) = model.predict([request])
    return request, response


YIELDING = """
    def handle(data, context):
        return None if data is None else [chunks(bytes(data[0]["body"]))]

    def chunks(body):
        if body == b"at once":
            raise KeyError("no first chunk")
        yield "a"
        yield b"b"
        yield {"c": {1}}
        if body == b"later":
            raise KeyError("no last chunk")
"""


def test_chunks_are_bytes_lines_and_text(load: Callable[..., Model]) -> None:
    _, response = call(load(YIELDING))

    assert response.chunks is not None
    assert (response.status, response.body, list(response.chunks)) == (200, b"a", [b"b", b'{"c": [1]}\n'])


def test_handler_that_is_a_generator(load: Callable[..., Model]) -> None:
    source = """
        class Yielding:
            def handle(self, data, context):
                yield "a"
                yield "b"
    """
    model = load(source)
    request, response = call(model)

    assert model.buffered(request, response).body == b"ab"


def test_generator_without_chunks(load: Callable[..., Model]) -> None:
    model = load("def handle(data, context):\n    return data and [iter(())]")

    assert model.buffered(*call(model)).body == b""


@pytest.mark.parametrize(("body", "message"), [(b"at once", "no first chunk"), (b"later", "no last chunk")])
def test_failure_after_the_first_chunk_fails_a_buffered_response(
    load: Callable[..., Model], body: bytes, message: str
) -> None:
    model = load(YIELDING)

    response = model.buffered(*call(model, body))

    assert (response.status, message in json.loads(response.body)["message"]) == (500, True)


def test_chunks_that_exceed_the_limit_together(load: Callable[..., Model]) -> None:
    model = load("def handle(data, context):\n    return data and [iter(['12345', '67890'])]")
    model.max_response_bytes = 9

    assert json.loads(model.buffered(*call(model)).body)["type"] == "ResponseTooLargeError"


@pytest.mark.parametrize(
    ("returned", "body"),
    [
        ("written(io.BytesIO(), b'abc')", b"abc"),
        ("written(io.StringIO(), 'äbc')", "äbc".encode()),
        ("written(tempfile.NamedTemporaryFile(), b'abc')", b"abc"),
        ("open(__file__, 'rb')", None),
        ("memoryview(array.array('H', [1, 2]))", b"\x01\x00\x02\x00"),
        ("bytearray(b'abc')", b"abc"),
        ("iter([memoryview(b'a'), written(io.BytesIO(), b'b'), 'c'])", b"abc"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_a_handlers_files_and_buffers_are_sent_whole(
    load: Callable[..., Model], folder: Path, returned: str, body: bytes | None, count: int
) -> None:
    model = load(
        f"""
        import array, io, tempfile
        def written(file, text):
            file.write(text)
            return file
        def handle(data, context):
            return None if data is None else [{returned} for _ in data]
        """
    )
    requests = [request(number=number) for number in range(count)]
    responses = [model.buffered(*pair) for pair in zip(requests, model.predict(requests), strict=True)]
    assert [response.body for response in responses] == [body or (folder / "h.py").read_bytes()] * count
    assert {response.status for response in responses} == {200}


def test_a_handlers_file_without_a_list(load: Callable[..., Model]) -> None:
    model = load("import tempfile\ndef handle(data, context):\n    return data and tempfile.TemporaryFile()")
    assert (respond(model).status, respond(model).body) == (200, b"")


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("pathlib.Path('/tmp/x')", "returned the path '/tmp/x', not what the file holds"),
        ("open(os.devnull, 'w')", "that cannot be read"),
        ("iter([b'a', pathlib.Path('/tmp/x')])", "returned the path"),
    ],
)
def test_a_handlers_files_that_cannot_be_sent(load: Callable[..., Model], returned: str, text: str) -> None:
    model = load(f"import os, pathlib\ndef handle(data, context):\n    return data and [{returned}]")
    response = model.buffered(request(), respond(model))
    assert (response.status, text in response.body.decode()) == (500, True)


FORM = "application/x-www-form-urlencoded"
SHOWS = """
    def handle(data, context):
        return data and [{name: bytes(value).decode() for name, value in item.items()} for item in data]
"""


@pytest.mark.parametrize(
    ("header", "content_type", "body", "fields"),
    [
        ("Content-Type", FORM, b"a=1&b=2&a=3", {"a": "3", "b": "2"}),
        ("content-type", FORM + "; charset=utf-8", b"a=1", {"a": "1"}),
        ("CONTENT-TYPE", FORM, b'{"a": 1}', {}),
        ("Content-Type", "application/json", b"a=1", {"body": "a=1"}),
        ("Content-Type", "multipart/form-data; boundary=x", b"no form", {}),
        (
            "Content-Type",
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="g"\r\n\r\n1,2\r\n--x--',
            {"f": "1,2"},
        ),
    ],
)
def test_a_form_is_its_fields(
    load: Callable[..., Model], header: str, content_type: str, body: bytes, fields: dict[str, str]
) -> None:
    """Without MMS, which reads forms itself: `polyhost check` and the native front end."""
    request = Request("1", {header: content_type}, {"body": bytearray(body)})
    assert json.loads(load(SHOWS).predict([request])[0].body) == fields


def test_a_damaged_form_in_a_batch_harms_no_other(load: Callable[..., Model]) -> None:
    bodies = [b"a=1", b"=%zz", b"b=2"]
    types = [FORM, FORM, FORM]
    requests = [
        Request(str(index), {"Content-Type": content_type}, {"body": bytearray(body)})
        for index, (content_type, body) in enumerate(zip(types, bodies, strict=True))
    ]
    first, damaged, last = load(SHOWS, batch_size=3).predict(requests)
    assert (json.loads(first.body), json.loads(last.body)) == ({"a": "1"}, {"b": "2"})
    assert failure(damaged)[:2] == (400, "BadFormError")
