"""scripts/patch-jar, with small packages of Debian and a small jar."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECORD = "META-INF/polyhost-patched.json"
HTTP = "io/netty/handler/codec/http"

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="the command 'dpkg-deb' is not on PATH")


def make_jar(file: Path, entries: dict[str, str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def make_deb(folder: Path, package: str, version: str, jars: dict[str, dict[str, str]]) -> None:
    root = folder / package
    for name, entries in jars.items():
        make_jar(root / "usr/share/java" / name, entries)
    (root / "usr/share/doc" / package).mkdir(parents=True)
    (root / "usr/share/doc" / package / "copyright").write_text(f"licence of {package}")
    (root / "DEBIAN").mkdir()
    control = (
        f"Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n"
    )
    (root / "DEBIAN" / "control").write_text(control)
    file = folder / f"{package}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", root, file], check=True, capture_output=True, timeout=60)


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    entries = {
        f"{HTTP}/HttpUtil.class": "old",
        f"{HTTP}/Gone.class": "old",
        f"{HTTP}/package.html": "text",
        "io/netty/channel/Channel.class": "kept",
        "org/apache/commons/io/IOUtils.class": "old",
        "META-INF/io.netty.versions.properties": "netty-codec-http.version=4.1.91.Final",
    }
    return make_jar(tmp_path / "model-server.jar", entries)


@pytest.fixture
def debs(tmp_path: Path) -> Path:
    folder = tmp_path / "debs"
    netty = {
        "netty-codec.jar": {"io/netty/handler/codec/A.class": "new"},
        "netty-codec-http.jar": {f"{HTTP}/HttpUtil.class": "new", "module-info.class": "m", "META-INF/maven/x": "y"},
        "netty-codec-http2.jar": {f"{HTTP}2/B.class": "new"},
    }
    make_deb(folder, "libnetty-java", "4.1.48-7+deb12u2", netty)
    make_deb(
        folder, "libcommons-io-java", "2.11.0-2", {"commons-io.jar": {"org/apache/commons/io/IOUtils.class": "new"}}
    )
    return folder


def patch(jar: Path, debs: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        sys.executable,
        ROOT / "scripts/patch-jar",
        jar,
        "--debs",
        debs,
        "--root",
        debs.parent / "root",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_classes_of_the_replaced_packages_are_debians(jar: Path, debs: Path, tmp_path: Path) -> None:
    done = patch(jar, debs)

    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(jar) as archive:
        entries = {name: archive.read(name).decode() for name in archive.namelist()}
    record = json.loads(entries.pop(RECORD))
    assert entries == {
        f"{HTTP}/HttpUtil.class": "new",
        f"{HTTP}/package.html": "text",
        f"{HTTP}2/B.class": "new",
        "io/netty/handler/codec/A.class": "new",
        "io/netty/channel/Channel.class": "kept",
        "org/apache/commons/io/IOUtils.class": "new",
        "META-INF/io.netty.versions.properties": "netty-codec-http.version=4.1.91.Final",
    }
    assert record["io.netty/netty-codec-http"] == {"package": "libnetty-java", "version": "4.1.48-7+deb12u2"}
    licence = tmp_path / "root/usr/share/doc/libnetty-java/copyright"
    assert licence.read_text() == "licence of libnetty-java"


def test_a_patched_jar_is_rejected(jar: Path, debs: Path) -> None:
    assert patch(jar, debs).returncode == 0
    before = jar.read_bytes()
    done = patch(jar, debs)

    assert done.returncode == 1
    assert f"{jar} is patched already" in done.stderr
    assert jar.read_bytes() == before


def test_a_missing_package_changes_nothing(jar: Path, debs: Path) -> None:
    next(debs.glob("libcommons-io-java_*.deb")).unlink()
    before = jar.read_bytes()
    done = patch(jar, debs)

    assert done.returncode == 1
    assert "has 0 files libcommons-io-java_*.deb; one is wanted" in done.stderr
    assert jar.read_bytes() == before
