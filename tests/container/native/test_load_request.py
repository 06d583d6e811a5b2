"""Load requests, of SageMaker and of people who know Multi Model Server's."""

import json
from typing import Any

import pytest

from polyhost.container.native.errors import Rejection
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.parser import HttpRequest

WHAT = {"model_name": "m", "url": "/models/m"}


def parsed(body: Any = None, query: bytes = b"") -> LoadRequest:
    content = b"" if body is None else json.dumps(body).encode()
    return LoadRequest.parse(HttpRequest(b"POST", b"/models", query, [], content, True, True))


def test_body_of_sagemaker() -> None:
    assert parsed(WHAT) == LoadRequest("m", "/models/m", "")


@pytest.mark.parametrize("handler", ["", None])
def test_handler_that_is_not_named(handler: Any) -> None:
    assert parsed({**WHAT, "handler": handler}).handler == ""


def test_handler_of_the_load() -> None:
    assert parsed({**WHAT, "handler": "own.py:handle"}) == LoadRequest("m", "/models/m", "own.py:handle")


def test_query_without_a_body() -> None:
    query = b"model_name=m&url=%2Fmodels%2Fm&handler=own%3Ahandle&runtime=python3"
    assert parsed(query=query) == LoadRequest("m", "/models/m", "own:handle")


def test_options_of_the_load_by_mmss_names() -> None:
    named = {"batch_size": 8, "max_batch_delay": 2.5, "response_timeout": 20}
    assert parsed({**WHAT, **named}).options == {"batch_size": 8, "batch_delay_ms": 2.5, "response_timeout_s": 20}
    query = b"model_name=m&url=%2Fmodels%2Fm&batch_size=8&max_batch_delay=&initial_workers=1"
    assert parsed(query=query).options == {"batch_size": 8}


@pytest.mark.parametrize("runtime", ["python", "python2", "python3", "python3.11", None])
def test_runtime_that_is_a_python(runtime: Any) -> None:
    assert parsed({**WHAT, "runtime": runtime}) == LoadRequest("m", "/models/m")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({**WHAT, "runtime": "java8"}, 'the load request: "runtime" is "java8"; it must be one of python, python2'),
        ({**WHAT, "runtime": 3}, '"runtime" is 3; it must be one of'),
        ({**WHAT, "handler": 3}, "handler is 3; it must be a string"),
        ({**WHAT, "handler": "a\0b"}, "without NUL"),
        ({**WHAT, "batch_size": 0}, "batch_size is 0; it must be a whole number from 1 to 10000"),
        ({**WHAT, "batch_size": True}, "batch_size is True"),
        ({**WHAT, "max_batch_delay": "soon"}, "max_batch_delay is 'soon'; it must be milliseconds from 0 to 60000"),
        ({"url": "/m"}, "model_name is None"),
        ([], "the body must be an object"),
        (None, "the body is not JSON"),
    ],
)
def test_rejections(body: Any, words: str) -> None:
    with pytest.raises(Rejection) as caught:
        parsed(body)
    assert words in str(caught.value)
