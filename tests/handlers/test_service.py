from __future__ import annotations

from pathlib import Path

import pytest
from mms.context import Context, RequestProcessor

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.service import Service
from tests.handlers.conftest import Archive
from tests.handlers.served import ATTRIBUTES, Served


def test_a_batch_has_an_answer_of_its_own_for_each_item(moons_forest: Path) -> None:
    replies = Served(moons_forest).ask_all(
        ("[[2, -1]]", {"content-type": "application/json", "accept": "text/csv"}),
        ("2,-1", {"CONTENT-TYPE": "text/csv"}),
        ("2,-1", {"Content-Type": "text/xml"}),
        ("[[2, -1]]", {"Content-Type": "application/json", "Accept": "image/png"}),
        ("", {}),
    )
    assert [reply.content_type for reply in replies] == ["text/csv", "application/json", None, None, None]
    assert [reply.body for reply in replies[:2]] == [b"1\n", b"[1]"]
    assert [reply.status for reply in replies[2:]] == [415, 406, 400]


def test_the_default_answer_type_is_a_setting(moons_forest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
    assert Served(moons_forest).ask("[[2, -1]]").body == b"1\n"


def test_a_default_answer_that_nobody_writes_fails_the_load(
    moons_forest: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/html; charset=utf-8")
    with pytest.raises(BadModelError, match=r"INVOCATIONS_ACCEPT='text/html': must be one of application/json, "):
        Served(moons_forest)
    with pytest.raises(BadModelError, match="INVOCATIONS_ACCEPT='text/html'"):
        Served(archive(**{"inference.py": "def model_fn(model_dir):\n    return len\n"}))


@pytest.mark.parametrize("function", ["output_fn(prediction, accept)", "transform_fn(model, body, kind, accept)"])
def test_a_script_may_write_any_default(archive: Archive, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/html")
    source = f"def model_fn(model_dir):\n    return len\ndef {function}:\n    return accept\n"
    reply = Served(archive(**{"inference.py": source})).ask("[[1]]")
    assert (reply.body, reply.content_type) == (b"text/html", "text/html")


@pytest.mark.parametrize("place", ["requirements.txt", "code/requirements.txt"])
def test_requirements_are_not_installed(
    moons_forest: Path, archive: Archive, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    Served(archive(moons_forest, **{place: "left-pad"}))
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 1 and f"{place} is not installed: put modules into the archive" in messages[0]


@pytest.mark.parametrize("gpu_id", [None, -1, "-1"])
def test_no_gpu(torch_program: Path, gpu_id: int | None, caplog: pytest.LogCaptureFixture) -> None:
    Served(torch_program, gpu_id=gpu_id)
    assert "GPU" not in caplog.text


def test_a_failed_load_raises_and_leaves_nothing(archive: Archive) -> None:
    service, context = Service(), Context("model", str(archive()), {}, 1, None, "1.1.11")
    for _ in range(2):
        with pytest.raises(BadModelError):
            service.handle(None, context)


def test_a_request_before_the_load_loads(moons_forest: Path) -> None:
    context = Context("model", str(moons_forest), {}, 1, None, "1.1.11")
    context.request_processor = [RequestProcessor({"Content-Type": "text/csv"})]
    assert Service().handle([{"body": b"2,-1"}], context) == [b"[1]"]


def test_attributes_that_are_no_pairs_do_not_matter(moons_forest: Path) -> None:
    assert Served(moons_forest).ask("[2, -1]", **{ATTRIBUTES: "c000b4f9-df62; nothing"}).json == [1]
