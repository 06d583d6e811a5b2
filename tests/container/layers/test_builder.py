"""Layers made by the real uv, from wheels and from an index on loopback."""

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from polyhost.container.config import Requirements
from polyhost.container.layers import wheels
from polyhost.container.layers.errors import BadRequirementsError, InstallationError, NoRoomForLayerError
from polyhost.container.layers.needs import Needs
from tests.container.layers.conftest import Layers
from tests.support.packages import Index, make_wheel

Archive = Callable[..., Path]
NUMPY = importlib.metadata.version("numpy")


def test_only_what_the_image_lacks_is_installed(layers: Layers, archive: Archive) -> None:
    layer = layers.build(archive("a", "greeting==2.0\nnumpy>=1.20\npillow\n"))

    assert layer.packages == ("greeting==2.0", "words==1.0")
    assert not layer.isolated
    names = {path.name for path in layers.store.site(layer.key).iterdir()}
    assert names == {
        *("greeting.py", "words.py", "__pycache__"),
        *("greeting-2.0.dist-info", "words-1.0.dist-info"),
    }  # fmt: skip
    assert any("installing the packages of code/requirements.txt: greeting==2.0, numpy" in text for text in layers.said)
    assert any("installed greeting==2.0, words==1.0" in text for text in layers.said)


def test_two_versions_side_by_side(layers: Layers, archive: Archive) -> None:
    first, second = layers.build(archive("a", "greeting==1.0")), layers.build(archive("b", "greeting==2.0"))

    assert "1.0" in layers.module(first, "greeting")
    assert "2.0" in layers.module(second, "greeting")


def test_the_same_needs_are_one_layer(layers: Layers, archive: Archive, index: Index) -> None:
    first = layers.build(archive("a", "greeting==1.0\nwords\n"))
    asked = len(index.requests)

    second = layers.build(archive("b", "# the same\nWords\nGreeting == 1.0\n", at="requirements.txt"))

    assert first == second
    assert layers.made() == [first.key]
    assert len(index.requests) == asked


def test_nothing_to_install_is_an_empty_layer(layers: Layers, archive: Archive, index: Index) -> None:
    layer = layers.build(archive("a", f"numpy=={NUMPY}\n"))

    assert layer.packages == ()
    assert index.requests == []
    assert any("nothing: the image has it all" in text for text in layers.said)


def test_a_conflict_with_the_image_is_told_in_the_resolvers_words(layers: Layers, archive: Archive) -> None:
    with pytest.raises(BadRequirementsError) as raised:
        layers.build(archive("a", "numpy>=9\n"))

    assert f"you require numpy>=9 and numpy=={NUMPY}" in str(raised.value)
    assert f"the image has numpy=={NUMPY}, which cannot change" in str(raised.value)
    assert "POLYHOST_REQUIREMENTS=isolated" in str(raised.value)
    assert layers.made() == []


def test_a_conflict_in_what_a_package_needs(layers: Layers, archive: Archive, index: Index) -> None:
    make_wheel(index.folder, "needy", "1.0", requires=["numpy>=9"])

    with pytest.raises(BadRequirementsError, match=rf"numpy=={NUMPY}"):
        layers.build(archive("a", "needy\n"))


def test_isolated_has_other_versions_of_the_images_packages(layers: Layers, archive: Archive, index: Index) -> None:
    make_wheel(index.folder, "numpy", "99.0")

    layer = layers.build(archive("a", "numpy>=9\ngreeting==1.0"), source=Requirements.ISOLATED)

    assert layer.isolated
    assert layer.packages == ("greeting==1.0", "numpy==99.0")
    assert any(f"99.0 for the image's {NUMPY}" in text and "seconds to start" in text for text in layers.said)
    assert any("may not work for this model: " in text and " (wants numpy" in text for text in layers.said)
    assert importlib.metadata.version("numpy") == NUMPY, "the image is as it was"


def test_isolated_without_a_conflict_is_a_layer_like_any_other(layers: Layers, archive: Archive) -> None:
    assert not layers.build(archive("a", "greeting==1.0"), source=Requirements.ISOLATED).isolated


def test_what_does_not_exist(layers: Layers, archive: Archive) -> None:
    with pytest.raises(BadRequirementsError, match="no-such-thing was not found in the package registry"):
        layers.build(archive("a", "no-such-thing"), source=Requirements.ISOLATED)


def test_an_index_that_cannot_be_reached(layers: Layers, archive: Archive, index: Index) -> None:
    index.close()
    url = index.url.replace("//", "//user:secret@")

    with pytest.raises(InstallationError, match="Failed to fetch") as raised:
        layers.build(archive("a", "greeting"), index={"UV_DEFAULT_INDEX": url, "UV_HTTP_RETRIES": "0"})
    assert "secret" not in str(raised.value)
    assert layers.made() == []


def test_an_index_that_does_not_answer(layers: Layers, archive: Archive, index: Index) -> None:
    index.hold.clear()

    with pytest.raises(InstallationError, match=r"not installed within .* s \(POLYHOST_REQUIREMENTS_SECONDS\)"):
        layers.build(archive("a", "greeting"), seconds=3.0)


def test_source_distributions_are_not_built(layers: Layers, archive: Archive, index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "source" / "evil-1.0"
    folder.mkdir(parents=True)
    mark = tmp_path / "executed"
    (folder / "setup.py").write_text(f"import pathlib, setuptools\npathlib.Path({str(mark)!r}).touch()\n")
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    shutil.make_archive(str(index.folder / "evil-1.0"), "gztar", tmp_path / "source", "evil-1.0")

    with pytest.raises(BadRequirementsError, match="evil"):
        layers.build(archive("a", "evil"))
    assert not mark.exists()


def test_wheels_of_the_archive_alone(layers: Layers, archive: Archive, index: Index) -> None:
    folder = archive("a", "greeting==2.0")
    for wheel in index.folder.iterdir():
        shutil.copy(wheel, folder_of_wheels(folder))

    layer = layers.build(folder, source=Requirements.WHEELS)

    assert layer.packages == ("greeting==2.0", "words==1.0")
    assert index.requests == []


def folder_of_wheels(folder: Path) -> Path:
    made = folder / "code" / "wheels"
    made.mkdir(parents=True, exist_ok=True)
    return made


def test_a_wheel_is_missing(layers: Layers, archive: Archive, index: Index) -> None:
    folder = archive("a", "greeting==2.0")
    make_wheel(folder_of_wheels(folder), "greeting", "2.0", requires=["words>=1"])

    with pytest.raises(BadRequirementsError, match=r"words was not found .*polyhost pack --with-wheels"):
        layers.build(folder)
    with pytest.raises(BadRequirementsError, match="no code/wheels/, and POLYHOST_REQUIREMENTS=wheels asks no index"):
        layers.build(archive("b", "greeting"), source=Requirements.WHEELS)
    assert index.requests == []


def test_wheels_of_one_name_with_other_content_are_another_layer(layers: Layers, archive: Archive) -> None:
    """Or an archive could have its code run in the processes of others."""
    made = []
    for number, sums in enumerate((False, True)):
        folder = archive(f"a{number}", "greeting")
        wheel = make_wheel(folder_of_wheels(folder), "greeting", files={"greeting.py": f"VALUE = {number}\n"})
        if sums:
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            (wheel.parent / "SHA256SUMS").write_text(wheels.write_sums({wheel.name: digest}))
        made.append(layers.build(folder))

    assert [layers.module(layer, "greeting") for layer in made] == ["VALUE = 0\n", "VALUE = 1\n"]


def test_sums_that_are_not_those_of_the_wheels(layers: Layers, archive: Archive) -> None:
    folder = archive("a", "greeting")
    wheel = make_wheel(folder_of_wheels(folder), "greeting")
    sums = wheel.parent / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  {wheel.name}\n")

    with pytest.raises(BadRequirementsError, match=r"greeting-1.0-py3-none-any.whl has the SHA-256 .*SHA256SUMS says"):
        layers.build(folder)
    for line, words in (
        ("nonsense", "not a line of sha256sum"),
        (f"{'0' * 64}  ../../../other/model/code/wheels/{wheel.name}", "/"),
        (f"{'0' * 64}  other-1.0-py3-none-any.whl", "is no file of the archive"),
    ):
        sums.write_text(f"{line}\n")
        with pytest.raises(BadRequirementsError, match=words):
            layers.build(folder)
    assert layers.made() == []


def test_files_in_the_folder_of_wheels_that_are_none(layers: Layers, archive: Archive, tmp_path: Path) -> None:
    folder = archive("a", "greeting")
    outside = make_wheel(tmp_path / "outside", "greeting")
    (folder_of_wheels(folder) / outside.name).symlink_to(outside)
    with pytest.raises(BadRequirementsError, match="is no file of the archive"):
        layers.build(folder)

    (folder_of_wheels(folder) / outside.name).unlink()
    (folder_of_wheels(folder) / outside.name).write_text("no zip")
    with pytest.raises(BadRequirementsError, match="greeting"):
        layers.build(folder)

    (folder_of_wheels(folder) / "greeting-1.0.tar.gz").touch()
    with pytest.raises(BadRequirementsError, match="source distribution, whose building would run its code"):
        layers.build(folder)

    (folder_of_wheels(folder) / "greeting-1.0.tar.gz").rename(folder_of_wheels(folder) / "x.whl")
    with pytest.raises(BadRequirementsError, match=r"x\.whl"):
        layers.build(folder)


def test_a_wheel_does_not_write_outside(layers: Layers, archive: Archive, tmp_path: Path) -> None:
    folder = archive("a", "greeting")
    files = {"greeting.py": "", "../../../../planted.py": "", "greeting-1.0.data/data/../../../planted.py": ""}
    wheel = make_wheel(folder_of_wheels(folder), "greeting", files=files)
    assert "../../../../planted.py" in zipfile.ZipFile(wheel).namelist()

    try:
        layer = layers.build(folder)
    except BadRequirementsError:
        pass
    else:
        assert not (layers.store.site(layer.key) / "planted.py").exists()
    assert list(tmp_path.rglob("planted.py")) == []


@pytest.mark.parametrize("place", ["scripts", "data/bin"])
def test_a_wheel_does_not_run(layers: Layers, archive: Archive, tmp_path: Path, place: str) -> None:
    """What uv runs to compile is this Python, and not one that the wheel brings."""
    folder, mark = archive("a", "greeting"), tmp_path / "executed"
    script = f"#!/bin/sh\ntouch {mark}\nexec {sys.executable} $@\n"
    names = ("python", f"python3.{sys.version_info.minor}", "helper")
    files = {"greeting.py": "", **{f"greeting-1.0.data/{place}/{name}": script for name in names}}
    make_wheel(folder_of_wheels(folder), "greeting", files=files)

    with contextlib.suppress(BadRequirementsError, InstallationError):
        layers.build(folder)
    assert not mark.exists()


def test_a_wheel_that_grows_is_stopped(layers: Layers, archive: Archive) -> None:
    folder = archive("a", "greeting")
    wheel = folder_of_wheels(folder) / make_wheel(folder_of_wheels(folder), "greeting").name
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("greeting_data.bin", bytes(50_000_000))

    with pytest.raises(BadRequirementsError, match="more than 10 MB"):
        layers.build(folder, limit=10_000_000)
    assert layers.made() == []


def test_hashes_are_checked(layers: Layers, archive: Archive, index: Index) -> None:
    wheel = index.folder / "greeting-1.0-py3-none-any.whl"
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()

    assert layers.build(archive("a", f"greeting==1.0 --hash=sha256:{right}")).packages == ("greeting==1.0",)
    with pytest.raises(BadRequirementsError, match=r"[Hh]ash"):
        layers.build(archive("b", f"greeting==1.0 --hash=sha256:{'0' * 64}"))


def test_a_package_of_the_containers_own_is_refused(layers: Layers, archive: Archive, index: Index) -> None:
    make_wheel(index.folder, "polyhost", "99.0")
    with pytest.raises(BadRequirementsError, match="polyhost"):
        layers.build(archive("a", "polyhost==99.0"), source=Requirements.ISOLATED)


def test_the_bound_on_the_disk(layers: Layers, archive: Archive, index: Index) -> None:
    for number in range(4):
        make_wheel(index.folder, f"big{number}", files={"data.py": f"# {number}\n" + "#" * 1_000_000})
    first, second = (layers.build(archive(f"a{number}", f"big{number}"), limit=2_500_000) for number in range(2))
    os.utime(layers.store.site(first.key).parent, (1000, 1000))
    _, hold = layers.store.hold(second.key) or pytest.fail("no layer")

    third = layers.build(archive("a2", "big2"), limit=2_500_000)

    assert layers.made() == sorted([second.key, third.key])
    assert any("removed the layer big0==1.0" in text for text in layers.said)
    _, other_hold = layers.store.hold(third.key) or pytest.fail("no layer")
    with pytest.raises(NoRoomForLayerError, match="layers that are in use take the rest"):
        layers.build(archive("a3", "big3"), limit=2_500_000)
    hold.close()
    other_hold.close()
    assert layers.build(archive("a3", "big3"), limit=2_500_000).packages == ("big3==1.0",)


def test_a_thousand_archives_with_ten_files(layers: Layers, archive: Archive, index: Index) -> None:
    """Ten layers; each archive after the first of its kind is looked up by its text, without a builder."""
    for number in range(10):
        make_wheel(index.folder, f"part{number}")
    directories = [archive(f"m{number}", f"part{number % 10}\n# {number % 10}\n") for number in range(1000)]
    made = {layers.build(directory).key for directory in directories[:10]}
    asked = len(index.requests)

    context = layers.context()
    found = set()
    for directory in directories:
        needs = Needs.of(directory)
        digest = needs.digest(context) if needs else None
        assert digest is not None
        key = layers.store.key_for(digest)
        assert key is not None
        layer, hold = layers.store.hold(key) or pytest.fail("no layer")
        hold.close()
        found.add(layer.key)

    assert len(made) == 10
    assert found == made == set(layers.made())
    assert len(index.requests) == asked
