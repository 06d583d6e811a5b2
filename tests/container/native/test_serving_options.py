import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from polyhost.container.native.errors import Refusal
from polyhost.container.native.serving_options import FILE, ServingSettings
from polyhost.container.worker.protocol import LoadCommand, encode_load

OURS = ServingSettings(batch_size=1, batch_delay_ms=0, queue_size=100, response_timeout_s=60)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(folder: Path, content: bytes) -> ServingSettings:
    (folder / FILE).write_bytes(content)
    return OURS.of_archive(folder, "m")


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        read(folder, content)
    failure = caught.value.failure
    assert (failure.code, failure.model, failure.phase) == (400, "m", "load")
    return failure.message


def test_without_a_file_the_containers_settings_hold(tmp_path: Path) -> None:
    assert OURS.of_archive(tmp_path, "m") == OURS
    assert OURS.of_archive(tmp_path / "nowhere", "m") == OURS


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    assert "more than 65536 bytes" in refusal(tmp_path, b" " * 70_000 + b"{}")


def test_a_link_is_followed_inside_the_folder_alone(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (tmp_path / "outside").write_text("{}")
    (archive / "inside").write_text('{"batch_size": 2}')
    (archive / FILE).symlink_to("inside")
    assert OURS.of_archive(archive, "m").batch_size == 2
    for target in ("../outside", FILE):
        (archive / FILE).unlink()
        (archive / FILE).symlink_to(target)
        with pytest.raises(Refusal):
            OURS.of_archive(archive, "m")


wishes = some.fixed_dictionaries(
    {},
    optional={
        "batch_size": some.integers(1, 1000),
        "queue_size": some.integers(1, 100_000),
        "batch_delay_ms": some.integers(0, 60_000) | some.floats(0, 60_000),
        "response_timeout_s": some.integers(1, 3600) | some.floats(0.001, 3600),
    },
)


@given(wishes)
@in_one_folder
def test_what_is_wished_for_holds(tmp_path: Path, wishes: dict[str, Any]) -> None:
    assert read(tmp_path, json.dumps(wishes).encode()) == ServingSettings(**{**asdict(OURS), **wishes})


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=10),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(some.dictionaries(some.sampled_from([*asdict(OURS), "other"]), anything))
@example({"batch_size": 2**40})
@example({"batch_size": 10**400})
@example({"queue_size": float("inf")})
@example({"batch_delay_ms": float("nan")})
@example({"response_timeout_s": True})
@in_one_folder
def test_what_is_accepted_can_be_served_with(tmp_path: Path, wishes: dict[str, Any]) -> None:
    try:
        accepted = read(tmp_path, json.dumps(wishes).encode())
    except Refusal as refused:
        assert refused.failure.code == 400
        assert any(key in refused.failure.message for key in wishes)
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
@in_one_folder
def test_any_content_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    try:
        read(tmp_path, content)
        assert isinstance(json.loads(content), dict)
    except Refusal as refused:
        assert FILE in refused.failure.message
        assert len(refused.failure.message) < 1000


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"batch_size": 0}', "batch_size is 0; it must be a whole number from 1"),
        (b'{"batch_size": 2.5}', "batch_size is 2.5"),
        (b'{"bath_size": 2}', "'bath_size' is unknown; it may have batch_size, batch_delay_ms"),
        (b"[1]", "holds a list"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
    ],
)
def test_a_refusal_names_the_key_and_what_it_may_be(tmp_path: Path, content: bytes, named: str) -> None:
    assert named in refusal(tmp_path, content)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Any) -> None:
    """A FIFO would hold up every model until somebody writes to it."""
    make(tmp_path / FILE)
    with pytest.raises(Refusal, match="is no file"):
        OURS.of_archive(tmp_path, "m")
