"""Handlers as MMS's users and SageMaker's toolkits write them: what a name may stand for, and how it is imported."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from polyhost.container.errors import LoadError
from polyhost.container.worker.model import Model, ModelSpec
from tests.container.worker.calls import failure, request, respond
from tests.container.worker.conftest import Write

pytestmark = pytest.mark.usefixtures("own_imports")

MANIFEST = "MAR-INF/MANIFEST.json"


@pytest.fixture
def load(folder: Path) -> Callable[[str], Model]:
    return lambda handler: Model.load(ModelSpec("m", folder, handler))


Load = Callable[[str], Model]

# What the name after the colon stands for

CLASS = """
    class Base:
        pass

    class Service(Base):
        def initialize(self, context):
            self.name = context.model_name

        def handle(self, data, context):
            return [self.name + type(self).__name__ for _ in data]
"""


@pytest.mark.parametrize("handler", ["s.py:handle", "s:handle", "s", "s.py", "s:Service", "s.py:Service"])
def test_a_class_is_instantiated_and_initialised(write: Write, load: Load, handler: str) -> None:
    write("s.py", CLASS)

    assert respond(load(handler)).body == b"mService"


def test_a_class_that_inherits_all_from_an_imported_one(write: Write, load: Load) -> None:
    write("base.py", CLASS)
    write("s.py", "from base import Service\nclass Mine(Service):\n    pass\n")

    assert respond(load("s.py:handle")).body == b"mMine"
    assert respond(load("s.py:Service")).body == b"mService"


def test_a_name_that_is_missing_means_the_only_class(
    write: Write, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    write("s.py", CLASS)

    with caplog.at_level(logging.WARNING):
        assert respond(load("s.py:main")).body == b"mService"
    assert "s.py:main: s has no main; its class Service serves" in caplog.text


OBJECTS = """
    class Service:
        loads = 0
        def initialize(self, context):
            self.loads += 1
        def handle(self, data, context):
            return [f"{self.loads}{len(data)}"]

    class Plain:
        def handle(self, data, context):
            return [f"plain {len(data)}"]

    class Function:
        first = ()
        def __call__(self, data, context):
            if data is None:
                self.first = ["loaded"]
            return data and self.first

    class Namespace:
        service = Service()
        @staticmethod
        def handle_all(data, context):
            return data and ["static"]

    _service, _plain, function = Service(), Plain(), Function()
    bound = _plain.handle
    settings = {"a": 1}
    class NeedsArguments:
        def __init__(self, path):
            pass
        handle = print
"""


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("_service", b"11"),
        ("_service.handle", b"11"),
        ("Namespace.service", b"11"),
        ("Namespace.service.handle", b"11"),
        ("Namespace.handle_all", b"static"),
        ("Service", b"11"),
        ("_plain", b"plain 1"),
        ("Plain", b"plain 1"),
        ("function", b"loaded"),
    ],
)
def test_objects_and_their_methods(write: Write, load: Load, name: str, body: bytes) -> None:
    write("s.py", OBJECTS)

    assert respond(load(f"s.py:{name}")).body == body


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("settings", "s.py:settings: settings is a dict; it must be a function settings(data, context), or a class"),
        ("NeedsArguments", "s.py:NeedsArguments: NeedsArguments cannot be made without arguments: missing a required"),
        ("missing", "classes found: NeedsArguments, Plain, Service; to serve by one of these, name it: s.py:Needs"),
    ],
)
def test_names_that_are_no_handler(write: Write, load: Load, name: str, words: str) -> None:
    write("s.py", OBJECTS)

    with pytest.raises(LoadError) as caught:
        load(f"s.py:{name}")
    assert (caught.value.status, caught.value.type) == (400, "HandlerNotFoundError")
    assert words in str(caught.value)


# Packages

RELATIVE = "from .a import A\ndef handle(data, context):\n    return data and [f'{A} {__name__}']\n"


@pytest.mark.parametrize("package", ["pkg", "json", "xml", "wsgiref", "code"])
@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("root", ["", "code/"])
def test_modules_of_packages_import_their_neighbours(
    write: Write, load: Load, package: str, init: bool, root: str
) -> None:
    """Of any name: some are of Python's own modules, imported or not."""
    if init:
        write(f"{root}{package}/__init__.py", "B = 'b'")
    write(f"{root}{package}/a.py", "A = 'a'")
    write(f"{root}{package}/service.py", RELATIVE)

    assert respond(load(f"{package}.service:handle")).body.startswith(b"a ")


def test_package_that_is_a_handler_itself(write: Write, load: Load) -> None:
    write("mine/__init__.py", RELATIVE)
    write("mine/a.py", "A = 'a'")

    assert respond(load("mine:handle")).body == b"a mine"
    assert respond(load("mine")).body.startswith(b"a mine")


@pytest.mark.parametrize("folder_name", ["pkg", "code", "json"])
def test_file_in_a_package_imports_its_neighbours_both_ways(write: Write, load: Load, folder_name: str) -> None:
    write(f"{folder_name}/__init__.py")
    write(f"{folder_name}/a.py", "A = 'a'")
    write(f"{folder_name}/b_.py", "B = 'b'")
    write(f"{folder_name}/service_.py", "import b_\n" + RELATIVE)

    assert respond(load(f"{folder_name}/service_.py:handle")).body.startswith(b"a ")
    assert vars(sys.modules["service_"])["A"] == "a"  # as MMS names it


def test_deep_packages(write: Write, load: Load) -> None:
    write("one/two/service.py", "from ..top import T\nfrom one.top import T as U\n" + RELATIVE)
    write("one/two/a.py", "A = 'a'")
    write("one/top.py", "T = 't'")

    assert respond(load("one.two.service:handle")).body == b"a one.two.service"


def test_a_folder_hides_no_installed_package(write: Write, load: Load) -> None:
    write("xmlrpc/service.py", "import xmlrpc.client\ndef handle(data, context):\n    return data and ['served']\n")

    assert respond(load("xmlrpc/service.py:handle")).body == b"served"


@pytest.mark.parametrize("handler", ["pkg.missing:handle", "pkg/missing.py:handle", "pkg.deep.missing:handle"])
def test_missing_modules_of_packages(write: Write, load: Load, handler: str) -> None:
    write("pkg/__init__.py")

    with pytest.raises(LoadError) as caught:
        load(handler)
    assert (caught.value.status, caught.value.type) == (400, "HandlerNotFoundError")
    assert handler in str(caught.value)


def test_a_module_that_a_package_lacks_is_named(write: Write, load: Load) -> None:
    write("pkg/service.py", "import no_such_module")

    with pytest.raises(LoadError, match="no_such_module") as caught:
        load("pkg.service:handle")
    assert caught.value.type == "ModuleNotFoundError"


def test_a_manifest_with_a_byte_order_mark(folder: Path, write: Write) -> None:
    write("pkg/a.py", "A = 'a'")
    write("pkg/service.py", RELATIVE)
    write(MANIFEST)
    (folder / MANIFEST).write_text(json.dumps({"model": {"handler": "pkg.service:handle"}}), "utf-8-sig")

    assert respond(Model.load(ModelSpec("m", folder))).body == b"a pkg.service"


# Who names the handler


@pytest.mark.parametrize(
    ("handler", "body"), [(None, b"manifest"), ("", b"manifest"), ("s.py:requested", b"requested")]
)
def test_manifest_comes_before_the_setting(folder: Path, write: Write, handler: str | None, body: bytes) -> None:
    write(MANIFEST, json.dumps({"model": {"handler": "s.py:manifest"}}))
    names = ("manifest", "setting", "requested")
    write("s.py", "".join(f"def {name}(data, context): return data and ['{name}']\n" for name in names))

    assert respond(Model.load(ModelSpec("m", folder, handler, "s.py:setting"))).body == body
    (folder / MANIFEST).unlink()
    expected = body if handler else b"setting"
    assert respond(Model.load(ModelSpec("m", folder, handler, "s.py:setting"))).body == expected


# SageMaker's inference toolkit

HANDLER_SERVICE = """
    from sagemaker_inference.default_handler_service import DefaultHandlerService
    from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
    from sagemaker_inference.transformer import Transformer

    class InferenceHandler(DefaultInferenceHandler):
        def default_model_fn(self, model_dir):
            return "default"

    class HandlerService(DefaultHandlerService):
        def __init__(self):
            super().__init__(transformer=Transformer(default_inference_handler=InferenceHandler()))
"""
FUNCTION = """
    _service = HandlerService()

    def handle(data, context):
        if not _service._service._initialized:
            _service.initialize(context)
        if data is None:
            return None
        return _service.handle(data, context)
"""
INFERENCE = """
    def transform_fn(model, data, content_type, accept, context):
        context.set_response_header(0, "x-tag", context.get_request_header(0, "x-tag"))
        if data == "bad":
            raise ValueError("a bad one")
        return f"{data} {content_type} {accept} {model}", "text/" + data

    def model_fn(model_dir):
        return model_dir.rpartition("/")[2]
"""


@pytest.mark.parametrize("handler", ["handler_service", "handler_service.py:handle", "handler_service:HandlerService"])
@pytest.mark.parametrize("source", [HANDLER_SERVICE, HANDLER_SERVICE + FUNCTION])
@pytest.mark.parametrize("script", ["inference.py", "code/inference.py"])
def test_the_toolkit_serves_each_request_of_a_batch(
    write: Write, load: Load, handler: str, source: str, script: str
) -> None:
    """Its transformer looks at the first request's headers only, so that it is called for each."""
    write("handler_service.py", source)
    write(script, INFERENCE)

    sent = ["a", "bad", "c"]
    headers = [{"Content-Type": "text/csv", "Accept": f"x/{text}", "x-tag": text} for text in sent]
    responses = load(handler).predict(
        [request(text.encode(), number=number, headers=headers[number]) for number, text in enumerate(sent)]
    )

    assert [response.body for response in responses[::2]] == [b"a text/csv x/a model", b"c text/csv x/c model"]
    assert [response.headers.get("content-type") for response in responses] == ["text/a", None, "text/c"]
    assert [response.headers["x-tag"] for response in responses] == sent
    assert responses[1].status == 500 and b"a bad one" in responses[1].body


def test_the_toolkits_own_service(write: Write, load: Load) -> None:
    write("code/inference.py", INFERENCE)
    model = load("sagemaker_inference.default_handler_service")

    assert (
        respond(model, b"a", **{"content-type": "text/csv", "x-tag": ""}).body == b"a text/csv application/json model"
    )


def test_the_toolkit_without_a_script_says_what_is_missing(write: Write, load: Load) -> None:
    write("weights.bin")

    with pytest.raises(LoadError, match="Please provide a model_fn implementation"):
        load("sagemaker_inference.default_handler_service")


# MMS_DECODE_INPUT_REQUEST

TYPES = """
    def handle(data, context):
        if data is None:
            return None
        return [f"{type(item['body']).__name__} {item['body']!r}" for item in data]
"""


@pytest.mark.parametrize(
    ("content_type", "body", "given"),
    [
        ("application/json", b'{"a": [1]}', "dict {'a': [1]}"),
        ("application/json; charset=utf-8", b'"text"', "str 'text'"),
        ("text/csv", "1,größe".encode(), "str '1,größe'"),
        ("text/plain; charset=latin-1", "größe".encode("latin-1"), "str 'größe'"),
        ("application/x-npy", b"{}", "bytearray bytearray(b'{}')"),
        ("", b"{}", "bytearray bytearray(b'{}')"),
    ],
)
@pytest.mark.parametrize("setting", ["true", "false", None])
def test_bodies_are_decoded_if_mms_is_told_to(
    write: Write,
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    content_type: str,
    body: bytes,
    given: str,
    setting: str | None,
) -> None:
    monkeypatch.delenv("MMS_DECODE_INPUT_REQUEST", raising=False)
    if setting:
        monkeypatch.setenv("MMS_DECODE_INPUT_REQUEST", setting)
    write("s.py", TYPES)

    expected = given if setting == "true" else f"bytearray {bytearray(body)!r}"
    assert respond(load("s.py"), body, **{"Content-Type": content_type}).body.decode() == expected


def test_a_body_that_cannot_be_decoded_fails_alone(write: Write, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMS_DECODE_INPUT_REQUEST", "true")
    write("s.py", TYPES)
    sent = [("application/json", b"1"), ("application/json", b"{"), ("text/csv", b"\xff"), ("text/csv", b"x")]
    requests = [
        request(body, number=number, headers={"content-type": kind}) for number, (kind, body) in enumerate(sent)
    ]

    first, *bad, last = load("s.py").predict(requests)

    assert (first.id, first.body, last.id, last.body) == ("r0", b"int 1", "r3", b"str 'x'")
    assert [failure(response)[:2] for response in bad] == [(400, "BadBodyError")] * 2
    assert "the body is not JSON" in failure(bad[0])[2] and "the body is not utf-8" in failure(bad[1])[2]


FORM = b"\r\n".join(
    [
        b"--b",
        b'Content-Disposition: form-data; name="values"; filename="v.json"',
        b"Content-Type: application/json",
        b"",
        b"[1, 2]",
        b"--b",
        b'Content-Disposition: form-data; name="note"; filename="n.txt"',
        b"Content-Type: text/plain",
        b"",
        b"hello",
        b"--b",
        b'Content-Disposition: form-data; name="plain"',
        b"",
        b"3",
        b"--b--",
        b"",
    ]
)


def test_fields_of_forms_are_decoded_by_their_types(write: Write, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMS_DECODE_INPUT_REQUEST", "true")
    write("s.py", "def handle(data, context):\n    return data and [repr(dict(data[0]))]\n")
    model = load("s.py")

    kind = "multipart/form-data; boundary=b"
    given = respond(model, FORM, **{"content-type": kind}).body.decode()
    assert given == "{'values': [1, 2], 'note': 'hello', 'plain': bytearray(b'3')}"
    bad = respond(model, FORM.replace(b"[1, 2]", b"[1, 2"), **{"content-type": kind})
    assert failure(bad)[2].startswith("the field 'values' is not JSON")


# Errors of MMS and the toolkit


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        ("PredictionException('x', 599)", 599, "x"),
        ("PredictionException('x')", 500, "x"),
        ("PredictionException('no : such thing', 404)", 404, "no : such thing"),
        ("PredictionException({'field': 'a'}, 422)", 422, "{'field': 'a'}"),
        ("PredictionException('', 400)", 400, "PredictionException"),
        ("PredictionException('x', 999)", 500, "x"),
        ("GenericInferenceToolkitError(415, 'no such type', 'Unsupported')", 415, "no such type"),
        ("BaseInferenceToolkitError(400, 'bad rows', 'Bad')", 400, "bad rows"),
        ("UnsupportedFormatError('a/b')", 500, "Content type a/b is not supported by this framework."),
    ],
)
@pytest.mark.parametrize("how", ["raise {}", "return [{}]"])
def test_errors_keep_their_message_and_status(
    write: Write, load: Load, raised: str, status: int, message: str, how: str
) -> None:
    write(
        "s.py",
        f"""
        from mms.service import PredictionException
        from sagemaker_inference.errors import *
        class Service:
            def handle(self, data, context):
                {how.format(raised)}
        """,
    )

    response = respond(load("s.py"))
    assert (response.status, failure(response)[2].partition("\n")[0]) == (status, message)
