from __future__ import annotations

from pathlib import Path

import pytest
from mms.context import Context, RequestProcessor

from handlers.errors import BadModelError
from handlers.service import Service
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
