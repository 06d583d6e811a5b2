import socket

import pytest

from polyhost.client import LoadedModel, PolyhostClient, RequestError
from tests.cli.stand_in import Reply, Seen, stand_in


def entry(name: str) -> dict[str, str]:
    return {"modelName": name, "modelUrl": f"/models/{name}/model"}


def test_a_list_is_read_from_all_its_pages() -> None:
    pages = {
        "/models": {"models": [entry("a")], "nextPageToken": "1&2"},
        "/models?next_page_token=1%262": {"models": [entry("b")], "nextPageToken": "3"},
        "/models?next_page_token=3": {"models": []},
    }
    with stand_in(lambda seen: Reply(200, pages[seen.path])) as url, PolyhostClient(url) as container:
        assert container.list_models() == [LoadedModel("a", "/models/a/model"), LoadedModel("b", "/models/b/model")]


def test_an_invocation_carries_what_it_was_given_and_no_more() -> None:
    seen: list[Seen] = []

    def answer(request: Seen) -> Reply:
        seen.append(request)
        return Reply(200, b"[1]")

    with stand_in(answer) as url, PolyhostClient(url) as container:
        assert container.invoke("a/b c", b"1,2", "text/csv").content == b"[1]"
        container.invoke("a", b"1,2", "text/csv", accept="text/csv", target_model="a.tar.gz")
    assert (seen[0].method, seen[0].path, seen[0].body) == ("POST", "/models/a%2Fb%20c/invoke", b"1,2")
    assert seen[0].headers["content-type"] == "text/csv"
    assert "x-amzn-sagemaker-target-model" not in seen[0].headers
    assert seen[1].headers["accept"] == "text/csv"
    assert seen[1].headers["x-amzn-sagemaker-target-model"] == "a.tar.gz"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(507, {"code": 507, "message": "no memory for a"}), "507 from DELETE /models/a: no memory for a"),
        (Reply(500, b"plain words\n"), "500 from DELETE /models/a: plain words"),
        (Reply(413), "413 from DELETE /models/a: Request Entity Too Large"),
        (Reply(500, ["odd"]), '500 from DELETE /models/a: ["odd"]'),
    ],
)
def test_an_error_tells_the_servers_own_words(reply: Reply, message: str) -> None:
    with stand_in(lambda _: reply) as url, PolyhostClient(url) as container, pytest.raises(RequestError) as caught:
        container.unload("a")
    assert (str(caught.value), caught.value.status) == (message, reply.status)


def test_something_else_than_a_container_is_noticed() -> None:
    expected = pytest.raises(RequestError, match="is it a container's address")
    with stand_in(lambda _: Reply(200, b"<html>")) as url, PolyhostClient(url) as container, expected:
        container.list_models()


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with PolyhostClient(url) as container:
            assert not container.ping()
            with pytest.raises(RequestError, match=f"no container is listening at {url} .*polyhost serve") as caught:
                container.list_models()
    assert caught.value.status == 0


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://127.0.0.1:port", "http://"])
def test_a_wrong_address_is_named(url: str) -> None:
    expected = pytest.raises(RequestError, match=r"is not a container.s address.*give http://HOST:PORT")
    with PolyhostClient(url) as container, expected:
        container.list_models()
