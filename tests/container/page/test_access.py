"""Which requests for the page are answered."""

import base64

import pytest

from polyhost.container.native.errors import Rejection
from polyhost.container.native.parser import HttpRequest
from polyhost.container.page.access import PageAccess

TOKEN = "a-token-of-thirty-two-characters"


def status(access: PageAccess, method: str = "GET", **headers: str) -> int:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = HttpRequest(method.encode(), b"/_polyhost/", b"", sent, b"", keep_alive=True, accepts_chunks=True)
    try:
        access.check(request)
    except Rejection as rejection:
        return rejection.failure.code
    return 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("10.0.0.7", 200),
        ("localhost:8080", 200),
        ("Models.Example.Com", 200),
        ("a.models.example.com:443", 200),
        ("example.com", 403),
        ("notmodels.example.com", 403),
        ("rebound.attacker.example", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_a_browser_must_know_the_container_by_a_name_of_its_own(host: str, expected: int) -> None:
    assert status(PageAccess(("models.example.com",), ""), Host=host) == expected


def test_the_page_is_read_only() -> None:
    access = PageAccess((), "")
    assert {method: status(access, method, Host="localhost") for method in ("HEAD", "POST", "DELETE", "OPTIONS")} == {
        "HEAD": 200,
        "POST": 405,
        "DELETE": 405,
        "OPTIONS": 405,
    }


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"Basic {base64.b64encode(f'any:{TOKEN}'.encode()).decode()}", 200),
        (f"Basic {base64.b64encode(f':{TOKEN}'.encode()).decode()}", 200),
        (f"Basic {base64.b64encode(TOKEN.encode()).decode()}", 401),
        ("Basic %%%", 401),
        ("Bearer other", 401),
        (f"Digest {TOKEN}", 401),
        ("", 401),
    ],
)
def test_the_token_is_asked_for(authorization: str, expected: int) -> None:
    assert status(PageAccess((), TOKEN), Host="localhost", Authorization=authorization) == expected
