"""What output_fn and transform_fn may return: files, buffers and views, and what is refused."""

import logging
from pathlib import Path

import numpy
import pytest

from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy

MODEL = "def model_fn(model_dir):\n    return len\n"
# What is returned, and the body that it becomes. Nothing here was rewound by its writer.
WHOLE = [
    ("io.BytesIO(b'abc')", b"abc"),
    ("written(io.BytesIO(), b'abc')", b"abc"),
    ("written(io.StringIO(), 'äbc')", "äbc".encode()),
    ("written(tempfile.TemporaryFile(), b'abc')", b"abc"),
    ("written(tempfile.NamedTemporaryFile('w+', encoding='utf-8'), 'äbc')", "äbc".encode()),
    ("written(tempfile.SpooledTemporaryFile(), b'abc')", b"abc"),
    ("open(__file__, 'rb')", None),
    ("open(__file__)", None),
    ("io.BufferedReader(io.BytesIO(b'abc'))", b"abc"),
    ("gzip.open(io.BytesIO(gzip.compress(b'abc')))", b"abc"),
    ("memoryview(b'abc')", b"abc"),
    ("io.BytesIO(b'abc').getbuffer()", b"abc"),
    ("memoryview(array.array('H', [1, 2]))", b"\x01\x00\x02\x00"),
    ("memoryview(b'abcdef')[::2]", b"ace"),
    ("bytearray(b'abc')", b"abc"),
    ("Pipe(b'abc')", b"abc"),
    ("io.BytesIO()", b""),
]
HELPERS = """
import array, gzip, io, os, pathlib, tempfile
def written(file, text):
    file.write(text)
    return file
class Pipe:
    def __init__(self, left):
        self.left = left
    def read(self, size=-1):
        left, self.left = self.left, b""
        return left
"""


@pytest.mark.parametrize("function", ["output_fn(prediction, accept)", "transform_fn(model, body, kind, accept)"])
@pytest.mark.parametrize(("returned", "body"), WHOLE)
def test_files_and_buffers_are_sent_whole(archive: Archive, function: str, returned: str, body: bytes | None) -> None:
    source = f"{HELPERS}{MODEL}def {function}:\n    return {returned}, 'image/png'\n"
    response = Served(archive(**{"inference.py": source})).post("[[1]]")
    assert response.body == (source.encode() if body is None else body)
    assert response.content_type == "image/png"


def test_files_without_a_content_type_have_that_of_the_request(archive: Archive) -> None:
    source = f"{HELPERS}{MODEL}def output_fn(prediction, accept):\n    return written(io.BytesIO(), b'abc')\n"
    response = Served(archive(**{"inference.py": source})).post("[[1]]", Accept="application/zip")
    assert (response.body, response.content_type) == (b"abc", "application/zip")


@pytest.mark.parametrize(
    ("returned", "accept", "body"),
    [
        ("[[1, 2.5], [3, 4]], accept", "text/csv", b"1,2.5\n3,4\n"),
        ("[[1, 2], [3, 4]], 'text/csv; header=absent'", "", b"1,2\n3,4\n"),
        ("numpy.array([[1, 2]]), accept", "application/x-npy", npy([[1, 2]])),
        ("[{'a': 1}, {'a': 2}], accept", "application/jsonlines", b'{"a": 1}\n{"a": 2}\n'),
        ("[1, 2], 'application/vnd.scores+json'", "", b"[1, 2]"),
        ("numpy.array([1, 2])", "text/csv", b"[1, 2]"),  # without a type: JSON, which the response says
    ],
)
def test_objects_are_written_in_the_type_that_they_are_given(
    archive: Archive, returned: str, accept: str, body: bytes
) -> None:
    source = f"import numpy\n{MODEL}def output_fn(prediction, accept):\n    return {returned}\n"
    response = Served(archive(**{"inference.py": source})).post("[[1]]", Accept=accept)
    assert response.body == body


def test_objects_that_do_not_fit_the_type_that_they_are_given(archive: Archive) -> None:
    source = f"{MODEL}def output_fn(prediction, accept):\n    return {{'a': [1]}}, accept\n"
    response = Served(archive(**{"inference.py": source})).post("[[1]]", Accept="text/csv")
    assert (response.status, response.error.phase) == (406, "encode")


def test_files_are_closed_and_buffers_may_be_returned_again(archive: Archive) -> None:
    source = f"""{HELPERS}{MODEL}
BUFFER = io.BytesIO(b'again')
FILES = []
def transform_fn(model, body, content_type, accept):
    if body == "closed":
        return repr([file.closed for file in FILES])
    if body == "buffer":
        return BUFFER
    FILES.append(open(__file__, "rb"))
    return FILES[-1]
"""
    served = Served(archive(**{"inference.py": source}))
    assert served.post("file").body == source.encode()
    assert served.post("closed").body == b"[True]"
    assert served.post("buffer").body == served.post("buffer").body == b"again"


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("pathlib.Path('/tmp/x.png')", "output_fn returned the path '/tmp/x.png', not what the file holds"),
        ("closed()", "output_fn returned a BytesIO that cannot be read: it is closed"),
        ("open(os.devnull, 'wb')", "that cannot be read: it is open for writing only"),
        ("Pipe(b'')", "output_fn returned a Pipe that is at its end and cannot be rewound"),
        ("Pipe(None)", "whose read() gives a NoneType"),
    ],
)
def test_files_that_cannot_be_sent(archive: Archive, returned: str, text: str) -> None:
    source = f"{HELPERS}{MODEL}def closed():\n    file = io.BytesIO(b'x')\n    file.close()\n    return file\n"
    source += f"def output_fn(prediction, accept):\n    return {returned}\n"
    response = Served(archive(**{"inference.py": source})).post("[[1]]")
    assert (response.status, response.error.phase) == (500, "encode")
    assert text in str(response.error)


@pytest.mark.parametrize("source", ["", "# nothing\n", "import json\nLIMIT = 3\n", "def helper(x):\n    return x\n"])
def test_scripts_without_functions_leave_all_to_the_framework(
    archive: Archive, moons_forest: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = Served(archive(moons_forest, **{"code/inference.py": source}))
    assert served.post("[[2.0, -1.0], [-1.0, 1.0]]").json == [1, 0]
    assert "inference.py defines none of model_fn, input_fn" in caplog.text


@pytest.mark.parametrize("fixture", ["torch_script", "torch_program", "mxnet_net", "digits_forest"])
def test_an_empty_script_changes_nothing(archive: Archive, request: pytest.FixtureRequest, fixture: str) -> None:
    folder = request.getfixturevalue(fixture)
    body = npy(numpy.ones({"mxnet_net": (1, 3, 6, 6), "digits_forest": (1, 64)}.get(fixture, (1, 1, 4, 4)), "f4"))
    expected = Served(folder).post(body, "application/x-npy").json
    assert Served(archive(folder, **{"inference.py": ""})).post(body, "application/x-npy").json == expected


@pytest.mark.parametrize(
    ("misspelled", "meant"),
    [("predict_function(data, model)", "predict_fn"), ("modelfn(d)", "model_fn"), ("output_func(p, a)", "output_fn")],
)
def test_near_misses_are_named_in_the_log(
    archive: Archive, moons_forest: Path, misspelled: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = f"def {misspelled}:\n    raise AssertionError\ndef helper():\n    pass\n"
    served = Served(archive(moons_forest, **{"inference.py": source}))
    assert served.post("[[2.0, -1.0]]").json == [1]
    name = misspelled.partition("(")[0]
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        f"inference.py: {name}() is never called; is {meant} meant?"
    ]
