"""What an inference.py gets and may return, through each front end."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.container import ContainerProcess

NewModel = Callable[[str], str]


def test_a_network_without_a_predict_fn_is_evaluated(container: ContainerProcess, new_model: NewModel) -> None:
    pytest.importorskip("torch")
    name = container.loaded(new_model("leaves_the_rest_to_torch"))
    for _ in range(3):
        response = container.invoke(name, b"[[1, 2]]")
        assert (response.status_code, response.json()) == (200, [[1, 2]])


@pytest.mark.parametrize("kind", ["bytes", "text", "file", "named", "view"])
def test_files_and_buffers_are_sent_whole(container: ContainerProcess, new_model: NewModel, kind: str) -> None:
    name = container.loaded(new_model("sends_files"))
    response = container.invoke(name, kind.encode(), content_type="text/csv")
    assert (response.status_code, response.text) == (200, "whole")


def test_json_reaches_a_predict_fn_as_it_was_sent(
    container: ContainerProcess, new_model: NewModel, pool: ThreadPoolExecutor
) -> None:
    name = container.loaded(new_model("parses_json"))
    sent = [{"instances": [[1]], "parameters": {"k": 1}}, [{"a": 1}, {"b": 2}], "text", 2.5, True, None, {}]
    responses = list(pool.map(lambda value: container.invoke(name, json.dumps(value).encode()), sent))
    assert [response.json() for response in responses] == [[type(value).__name__, value] for value in sent]
    assert container.invoke(name, b"[[1, 2]]").json() == ["ndarray", [[1, 2]]]
