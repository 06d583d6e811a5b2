"""scripts/sbom, of this environment and this machine."""

import hashlib
import json
import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parent.parent


def sbom(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "sbom", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def valid(file: Path) -> dict[str, Any]:
    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document: dict[str, Any] = json.loads(text)
    return document


def purls(document: dict[str, Any]) -> set[str]:
    return {component["purl"].partition("?")[0] for component in document["components"] if "purl" in component}


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="the command 'dpkg-query' is not on PATH")
def test_image_has_python_debian_and_the_libraries_of_the_jar(tmp_path: Path) -> None:
    file = tmp_path / "sbom.cdx.json"
    done = sbom("image", "--python", sys.executable, "--base", "debian@sha256:0", "-o", file)
    assert done.returncode == 0, done.stderr

    document = valid(file)
    found = purls(document)
    assert f"pkg:pypi/pillow@{version('pillow')}" in found
    assert "pkg:maven/io.netty/netty-codec-http@4.1.91.Final" in found
    assert "pkg:maven/commons-io/commons-io@2.6" in found
    dpkg = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "dpkg"], capture_output=True, text=True, check=True)
    assert f"pkg:deb/debian/dpkg@{dpkg.stdout}" in found
    assert document["metadata"]["component"]["type"] == "container"
    assert {"name": "polyhost:base-image", "value": "debian@sha256:0"} in document["metadata"]["component"][
        "properties"
    ]


def test_wheel_has_what_is_installed_with_it(tmp_path: Path) -> None:
    wheel, file = tmp_path / "polyhost.whl", tmp_path / "sbom.cdx.json"
    wheel.write_bytes(b"the wheel")
    done = sbom("wheel", wheel, "--python", sys.executable, "-o", file)
    assert done.returncode == 0, done.stderr

    document = valid(file)
    root = document["metadata"]["component"]
    assert root["name"] == "polyhost"
    assert root["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"the wheel").hexdigest()}]
    found = purls(document)
    assert f"pkg:pypi/httpx@{version('httpx')}" in found
    assert not [purl for purl in found if purl.startswith(("pkg:pypi/polyhost@", "pkg:pypi/pip@"))]


def test_environment_without_polyhost_is_an_error(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    file = tmp_path / "sbom.cdx.json"
    done = sbom("wheel", tmp_path / "polyhost.whl", "--python", tmp_path / "venv" / "bin" / "python", "-o", file)

    assert done.returncode == 1
    assert "polyhost is not in the environment" in done.stderr
    assert not file.exists()
