import os

import pytest

from polyhost.container import withhold
from polyhost.container.layers import index
from polyhost.container.layers.errors import InstallationError
from tests.support.stub_server import StubRequest, StubResponse, stub_server

ARN = "arn:aws:codeartifact:eu-west-1:123456789012:repository/domain/repo"


def test_pips_variables_stand_in_for_uvs() -> None:
    environ = {
        "PIP_INDEX_URL": "https://a/simple",
        "PIP_EXTRA_INDEX_URL": "https://b/simple",
        "PIP_FIND_LINKS": "/a /b",
        "PIP_TRUSTED_HOST": "a",
        "PIP_CERT": "/etc/ca.pem",
        "HTTPS_PROXY": "http://proxy",
        "no_proxy": "localhost",
        "UV_CACHE_DIR": "/elsewhere",
        "UV_PYTHON": "3.9",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "DB_PASSWORD": "secret",
    }
    assert index.variables_of(environ) == {
        "UV_DEFAULT_INDEX": "https://a/simple",
        "UV_INDEX": "https://b/simple",
        "UV_FIND_LINKS": "/a,/b",
        "UV_INSECURE_HOST": "a",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "HTTPS_PROXY": "http://proxy",
        "no_proxy": "localhost",
    }


@pytest.mark.parametrize("own", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_uvs_own_come_first(own: str) -> None:
    assert index.variables_of({own: "https://a", "PIP_INDEX_URL": "https://b"}) == {own: "https://a"}


def test_an_empty_one_is_absent() -> None:
    assert index.variables_of({"UV_DEFAULT_INDEX": " ", "PIP_INDEX_URL": "https://b"}) == {
        "UV_DEFAULT_INDEX": "https://b"
    }


def test_they_are_kept_without_a_path() -> None:
    descriptor = index.keep({"UV_DEFAULT_INDEX": "https://a"})
    try:
        assert index.read(descriptor) == index.read(descriptor) == {"UV_DEFAULT_INDEX": "https://a"}
    finally:
        os.close(descriptor)


def test_those_with_passwords_are_withheld() -> None:
    environ = {"UV_DEFAULT_INDEX": "x", "UV_INDEX_MINE_PASSWORD": "x", "PIP_INDEX_URL": "x", "PIP_NO_CACHE_DIR": "1"}
    assert withhold.without(environ, index.WITHHELD) == {"PIP_NO_CACHE_DIR": "1"}


def test_uv_gets_no_credentials_of_aws() -> None:
    variables = index.variables_of({"CA_REPOSITORY_ARN": ARN, "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r"})
    assert variables == {"CA_REPOSITORY_ARN": ARN, "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r"}
    assert index.for_uv({**variables, "CA_REPOSITORY_ARN": ""}) == {}


def test_an_arn_that_is_none() -> None:
    with pytest.raises(InstallationError, match="CA_REPOSITORY_ARN='nonsense': must be arn:aws:codeartifact"):
        index.for_uv({"CA_REPOSITORY_ARN": "nonsense"})


def test_code_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(request: StubRequest) -> StubResponse:
        assert "aws4_request" in request.headers["authorization"].lower()
        if request.path.startswith("/v1/authorization-token"):
            return StubResponse(200, {"authorizationToken": "to/ken"})
        assert request.path.startswith("/v1/repository/endpoint") and "format=pypi" in request.path
        return StubResponse(200, {"repositoryEndpoint": "https://d.example/pypi/repo/"})

    monkeypatch.setattr(os, "environ", os.environ.copy())
    with stub_server(respond) as url:
        variables = {
            "CA_REPOSITORY_ARN": ARN,
            "AWS_ENDPOINT_URL_CODEARTIFACT": url,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        assert index.for_uv(variables) == {"UV_DEFAULT_INDEX": "https://aws:to%2Fken@d.example/pypi/repo/simple/"}


def test_code_artifact_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with stub_server(lambda request: StubResponse(403, {"message": "not yours"})) as url:
        variables = {"AWS_ENDPOINT_URL_CODEARTIFACT": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        with pytest.raises(InstallationError, match="CA_REPOSITORY_ARN"):
            index.for_uv({"CA_REPOSITORY_ARN": ARN, **variables})
