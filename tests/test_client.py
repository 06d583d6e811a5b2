"""The client of the container's API."""

import socket
from http import HTTPStatus

import pytest

from polyhost.client import LoadedModel, PolyhostClient, RequestError
from tests.support.stub_server import StubRequest, StubResponse, stub_server


def entry(name: str) -> dict[str, str]:
    return {"modelName": name, "modelUrl": f"/models/{name}/model"}


def test_list_follows_every_page_token() -> None:
    pages = {
        "/models": {"models": [entry("a")], "nextPageToken": "1&2"},
        "/models?next_page_token=1%262": {"models": [entry("b")], "nextPageToken": "3"},
        "/models?next_page_token=3": {"models": []},
    }
    with stub_server(lambda seen: StubResponse(200, pages[seen.path])) as url, PolyhostClient(url) as container:
        assert container.list_models() == [LoadedModel("a", "/models/a/model"), LoadedModel("b", "/models/b/model")]


def test_invoke_sends_only_the_given_headers() -> None:
    seen: list[StubRequest] = []

    def respond(request: StubRequest) -> StubResponse:
        seen.append(request)
        return StubResponse(200, b"[1]")

    with stub_server(respond) as url, PolyhostClient(url) as container:
        assert container.invoke("a/b c", b"1,2", "text/csv").content == b"[1]"
        container.invoke("a", b"1,2", "text/csv", accept="text/csv", target_model="a.tar.gz")
    assert (seen[0].method, seen[0].path, seen[0].body) == ("POST", "/models/a%2Fb%20c/invoke", b"1,2")
    assert seen[0].headers["content-type"] == "text/csv"
    assert "x-amzn-sagemaker-target-model" not in seen[0].headers
    assert seen[1].headers["accept"] == "text/csv"
    assert seen[1].headers["x-amzn-sagemaker-target-model"] == "a.tar.gz"


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (StubResponse(507, {"code": 507, "message": "no memory for a"}), "507 from DELETE /models/a: no memory for a"),
        (StubResponse(500, b"plain text\n"), "500 from DELETE /models/a: plain text"),
        (StubResponse(413), f"413 from DELETE /models/a: {HTTPStatus(413).phrase}"),
        (StubResponse(500, ["odd"]), '500 from DELETE /models/a: ["odd"]'),
    ],
)
def test_error_has_the_servers_message_and_status(response: StubResponse, message: str) -> None:
    with (
        stub_server(lambda _: response) as url,
        PolyhostClient(url) as container,
        pytest.raises(RequestError) as caught,
    ):
        container.unload("a")
    assert (str(caught.value), caught.value.status) == (message, response.status)


def test_a_server_that_is_not_a_container_is_noticed() -> None:
    expected = pytest.raises(RequestError, match="is it a container's address")
    with stub_server(lambda _: StubResponse(200, b"<html>")) as url, PolyhostClient(url) as container, expected:
        container.list_models()


def test_no_server_at_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with PolyhostClient(url) as container:
            assert not container.ping()
            with pytest.raises(RequestError, match=f"no container is listening at {url} .*polyhost serve") as caught:
                container.list_models()
    assert caught.value.status == 0


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://127.0.0.1:port", "http://"])
def test_an_invalid_address_is_named(url: str) -> None:
    expected = pytest.raises(RequestError, match=r"is not a container.s address.*give http://HOST:PORT")
    with PolyhostClient(url) as container, expected:
        container.list_models()
