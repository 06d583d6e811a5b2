"""What the image says of its contents, and Multi Model Server's jar in it."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from polyhost import __version__
from tests.image.conftest import MODEL_NAME
from tests.image.engine import BUILD_SECONDS, REPOSITORY, built, docker, inspect, run, serving

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

BASE = "debian:bookworm-slim"
URLENCODED = "application/x-www-form-urlencoded"
JAR = "/opt/venv/lib/python3.11/site-packages/mms/frontend/model-server.jar"


@pytest.fixture(scope="module")
def sbom(image: str) -> dict[str, Any]:
    text = run(image, "cat", "/usr/share/polyhost/sbom.cdx.json").stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document: dict[str, Any] = json.loads(text)
    return document


def test_sbom_is_of_this_image(sbom: dict[str, Any]) -> None:
    root = sbom["metadata"]["component"]

    assert (root["type"], root["name"], root["version"]) == ("container", "polyhost", __version__)
    assert {"name": "polyhost:base-image", "value": BASE} in root["properties"]


def test_sbom_has_all_python_and_debian_packages(image: str, sbom: dict[str, Any]) -> None:
    purls = [unquote(component["purl"]) for component in sbom["components"] if "purl" in component]
    found = {purl.partition("?")[0].lower() for purl in purls}
    freeze = run(image, "python", "-m", "pip", "list", "--format=json").stdout
    installed = {f"pkg:pypi/{each['name']}@{each['version']}".lower().replace("_", "-") for each in json.loads(freeze)}
    packages = run(image, "dpkg-query", "-W", "-f", "${Package} ").stdout.split()

    installed.remove(f"pkg:pypi/polyhost@{__version__}")  # of no index, so it has no address
    assert {purl.replace("_", "-") for purl in found} >= installed
    assert "polyhost" in {component["name"] for component in sbom["components"]}
    assert {purl.split("/")[2].split("@")[0] for purl in found if purl.startswith("pkg:deb/")} >= set(packages)


def test_netty_of_the_requests_is_debians(sbom: dict[str, Any]) -> None:
    purls = {each["name"]: each["purl"] for each in sbom["components"] if each.get("group") == "io.netty"}

    assert purls["netty-codec-http"].startswith("pkg:deb/debian/libnetty-java@")
    assert purls["netty-transport"].startswith("pkg:maven/io.netty/netty-transport@4.1.91")


def test_what_makes_the_sbom_is_not_in_the_image(image: str) -> None:
    done = run(image, "python", "-c", "import cyclonedx")

    assert "No module named 'cyclonedx'" in done.stderr


def test_conformance_with_the_patched_jar(sklearn_image: str, tmp_path: Path) -> None:
    """Run the suite, and the tests of forms, here: the image's jar is in a copy of MMS that comes first on the path.

    Row 41 is what MMS as released accepts; the patched jar rejects a part of it (below).
    """
    import mms

    shutil.copytree(Path(mms.__file__).parent, tmp_path / "mms")
    container = docker("create", sklearn_image).stdout.strip()
    try:
        docker("cp", f"{container}:{JAR}", str(tmp_path / "mms" / "frontend" / "model-server.jar"))
    finally:
        docker("rm", "--force", "--volumes", container)
    suite = ("tests/integration/test_conformance.py", "tests/integration/test_forms.py")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-k",
        "mms and not row_41",
        *suite,
    ]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=BUILD_SECONDS)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_form_of_very_many_fields_is_rejected(sklearn_image: str, models: Path) -> None:
    """CVE-2024-29025, which a client of the endpoint can reach: MMS as released takes seconds and much memory."""
    options = ("--env=SAGEMAKER_MULTI_MODEL=true", f"--volume={models}:/opt/ml/models:ro", "--memory=2g")
    with serving(sklearn_image, *options) as container:
        assert container.load(MODEL_NAME).status_code == 200
        invoke = f"/models/{MODEL_NAME}/invoke"
        for fields, rejected in ((100, False), (100_000, True)):
            response = container.http.post(invoke, content="a=&" * fields, headers={"content-type": URLENCODED})
            assert ("TooManyFormFieldsException" in response.text) == rejected, response.text


@pytest.mark.parametrize(
    "rest",
    [
        b"\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"\nContent-Length: 3\n\nabc",
    ],
    ids=["chunk size", "bare LF"],
)
def test_ambiguous_framing_is_rejected(sklearn_image: str, rest: bytes) -> None:
    with serving(sklearn_image, "--env=SAGEMAKER_MULTI_MODEL=true", "--memory=2g") as container:
        url = container.http.base_url
        connection = socket.create_connection((url.host, url.port), 60)
        with connection:
            connection.sendall(b"POST /models/any/invoke HTTP/1.1\r\nHost: a" + rest)
            assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_base_image_can_be_given_by_digest(sklearn_image: str, unique_tag: str) -> None:
    base = inspect(BASE)["RepoDigests"][0]
    arguments = ("--build-arg=FRAMEWORKS=sklearn", f"--build-arg=BASE_IMAGE={base}")
    with built(f"polyhost-digest:{unique_tag}", REPOSITORY, *arguments) as name:
        assert inspect(name)["Config"]["Labels"]["org.opencontainers.image.base.name"] == base
