import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from polyhost.container.native.errors import Rejection
from polyhost.container.native.serving_options import FILE, ServingOptions
from polyhost.container.worker.protocol import LoadCommand, encode_load

CONTAINER_OPTIONS = ServingOptions(batch_size=1, batch_delay_ms=0, queue_size=100, response_timeout_s=60)
with_shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_options(folder: Path, content: bytes) -> ServingOptions:
    (folder / FILE).write_bytes(content)
    return CONTAINER_OPTIONS.of_archive(folder, "m")


def rejection_message(folder: Path, content: bytes) -> str:
    with pytest.raises(Rejection) as caught:
        read_options(folder, content)
    failure = caught.value.failure
    assert (failure.code, failure.model, failure.phase) == (400, "m", "load")
    return failure.message


def test_container_options_hold_without_a_file(tmp_path: Path) -> None:
    assert CONTAINER_OPTIONS.of_archive(tmp_path, "m") == CONTAINER_OPTIONS
    assert CONTAINER_OPTIONS.of_archive(tmp_path / "nowhere", "m") == CONTAINER_OPTIONS


def test_too_large_file_is_rejected(tmp_path: Path) -> None:
    assert "more than 65536 bytes" in rejection_message(tmp_path, b" " * 70_000 + b"{}")


def test_link_is_followed_only_within_the_model_directory(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (tmp_path / "outside").write_text("{}")
    (archive / "inside").write_text('{"batch_size": 2}')
    (archive / FILE).symlink_to("inside")
    assert CONTAINER_OPTIONS.of_archive(archive, "m").batch_size == 2
    for target in ("../outside", FILE):
        (archive / FILE).unlink()
        (archive / FILE).symlink_to(target)
        with pytest.raises(Rejection):
            CONTAINER_OPTIONS.of_archive(archive, "m")


options = some.fixed_dictionaries(
    {},
    optional={
        "batch_size": some.integers(1, 1000),
        "queue_size": some.integers(1, 100_000),
        "batch_delay_ms": some.integers(0, 60_000) | some.floats(0, 60_000),
        "response_timeout_s": some.integers(1, 3600) | some.floats(0.001, 3600),
    },
)


@given(options)
@with_shared_folder
def test_valid_options_replace_the_containers(tmp_path: Path, options: dict[str, Any]) -> None:
    expected = ServingOptions(**{**asdict(CONTAINER_OPTIONS), **options})
    assert read_options(tmp_path, json.dumps(options).encode()) == expected


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=10),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(some.dictionaries(some.sampled_from([*asdict(CONTAINER_OPTIONS), "other"]), anything))
@example({"batch_size": 2**40})
@example({"batch_size": 10**400})
@example({"queue_size": float("inf")})
@example({"batch_delay_ms": float("nan")})
@example({"response_timeout_s": True})
@with_shared_folder
def test_accepted_options_are_within_their_limits(tmp_path: Path, options: dict[str, Any]) -> None:
    try:
        accepted = read_options(tmp_path, json.dumps(options).encode())
    except Rejection as rejection:
        assert rejection.failure.code == 400
        assert any(key in rejection.failure.message for key in options)
    else:
        encode_load(LoadCommand("m", "/", accepted.batch_size, "handler", None, ""))  # in 32 bits
        assert accepted.queue_size >= 1
        assert 0 <= accepted.batch_delay_ms <= 60_000
        assert 0 < accepted.response_timeout_s <= 3600


@given(some.binary(max_size=100) | some.text(max_size=100).map(str.encode))
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"batch_size": ' + b"9" * 5000 + b"}")
@example(b'{"batch_size": ' + b"[" * 900 + b"]" * 900 + b"}")
@with_shared_folder
def test_any_content_is_read_or_rejected(tmp_path: Path, content: bytes) -> None:
    try:
        read_options(tmp_path, content)
        assert isinstance(json.loads(content), dict)
    except Rejection as rejection:
        assert FILE in rejection.failure.message
        assert len(rejection.failure.message) < 1000


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"batch_size": 0}', "batch_size is 0; it must be a whole number from 1"),
        (b'{"batch_size": 2.5}', "batch_size is 2.5"),
        (b'{"bath_size": 2}', "unknown key 'bath_size'; known are batch_size, batch_delay_ms"),
        (b"[1]", "holds a list"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
    ],
)
def test_rejection_names_the_key_and_the_allowed_values(tmp_path: Path, content: bytes, named: str) -> None:
    assert named in rejection_message(tmp_path, content)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_anything_but_a_regular_file_is_rejected_at_once(tmp_path: Path, make: Any) -> None:
    """Opening a FIFO would block every model until there is a writer."""
    make(tmp_path / FILE)
    with pytest.raises(Rejection, match="is not a regular file"):
        CONTAINER_OPTIONS.of_archive(tmp_path, "m")
