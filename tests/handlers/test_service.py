from pathlib import Path

import pytest
from mms.context import Context, RequestProcessor

from polyhost.handlers.body import forms
from polyhost.handlers.body.forms import Field
from polyhost.handlers.body.media_types import JSON
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.service import Service
from tests.handlers.conftest import Archive
from tests.handlers.served import ATTRIBUTES, Served


def test_batch_has_one_response_per_item(moons_forest: Path) -> None:
    responses = Served(moons_forest).post_all(
        ("[[2, -1]]", {"content-type": "application/json", "accept": "text/csv"}),
        ("2,-1", {"CONTENT-TYPE": "text/csv"}),
        ("2,-1", {"Content-Type": "text/xml"}),
        ("[[2, -1]]", {"Content-Type": "application/json", "Accept": "image/png"}),
        ("", {}),
    )
    assert [response.content_type for response in responses] == ["text/csv", "application/json", None, None, None]
    assert [response.body for response in responses[:2]] == [b"1\n", b"[1]"]
    assert [response.status for response in responses[2:]] == [415, 406, 400]


def test_default_accept_is_a_setting(moons_forest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
    assert Served(moons_forest).post("[[2, -1]]").body == b"1\n"


def test_unwritable_default_accept_fails_the_load(
    moons_forest: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/html; charset=utf-8")
    with pytest.raises(BadModelError, match=r"INVOCATIONS_ACCEPT='text/html': must be one of application/json, "):
        Served(moons_forest)
    with pytest.raises(BadModelError, match="INVOCATIONS_ACCEPT='text/html'"):
        Served(archive(**{"inference.py": "def model_fn(model_dir):\n    return len\n"}))


@pytest.mark.parametrize("function", ["output_fn(prediction, accept)", "transform_fn(model, body, kind, accept)"])
def test_script_may_write_any_default_accept(archive: Archive, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/html")
    source = f"def model_fn(model_dir):\n    return len\ndef {function}:\n    return accept\n"
    response = Served(archive(**{"inference.py": source})).post("[[1]]")
    assert (response.body, response.content_type) == (b"text/html", "text/html")


@pytest.mark.parametrize("place", ["requirements.txt", "code/requirements.txt"])
def test_requirements_are_not_installed(
    moons_forest: Path, archive: Archive, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    Served(archive(moons_forest, **{place: "left-pad"}))
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 1 and f"{place} is not installed: put modules into the archive" in messages[0]


@pytest.mark.parametrize("gpu_id", [None, -1, "-1"])
def test_no_gpu_is_assigned(torch_program: Path, gpu_id: int | None, caplog: pytest.LogCaptureFixture) -> None:
    Served(torch_program, gpu_id=gpu_id)
    assert "GPU" not in caplog.text


def test_failed_load_can_be_repeated(archive: Archive) -> None:
    service, context = Service(), Context("model", str(archive()), {}, 1, None, "1.1.11")
    for _ in range(2):
        with pytest.raises(BadModelError):
            service.handle(None, context)


def test_request_before_the_load_loads(moons_forest: Path) -> None:
    context = Context("model", str(moons_forest), {}, 1, None, "1.1.11")
    context.request_processor = [RequestProcessor({"Content-Type": "text/csv"})]
    assert Service().handle([{"body": b"2,-1"}], context) == [b"[1]"]


def test_malformed_custom_attributes_are_ignored(moons_forest: Path) -> None:
    assert Served(moons_forest).post("[2, -1]", **{ATTRIBUTES: "c000b4f9-df62; nothing"}).json == [1]


FORM = "application/x-www-form-urlencoded"
HELD_BODY = "def model_fn(d): return 1\ndef transform_fn(m, body, kind, accept): return body, 'text/plain'\n"


def test_a_form_of_a_script_is_a_body_again(archive: Archive) -> None:
    served = Served(archive(**{"inference.py": HELD_BODY}))
    assert served.post_item(forms.item({"body": b"a=x%20y&b="}, None, FORM), FORM).body == b"a=x+y&b="
    kind = "multipart/form-data; boundary=xyz"
    body = forms.encode([Field("k", b"v"), Field("file", b"\x00\r\n", "image/png")], kind)
    assert served.post_item(forms.item({"body": body}, None, kind), kind).body == body


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": "b=c"}', b"=x", b"a=%zz"])
def test_what_is_no_form_fails_alone(archive: Archive, body: bytes) -> None:
    served = Served(archive(**{"inference.py": HELD_BODY}))
    good = forms.item({"body": b"a=1"}, None, FORM)
    bad = forms.item({"body": body}, None, FORM)
    responses = served.post_items((good, FORM), (bad, FORM), (good, FORM))
    assert [responses[0].body, responses[2].body] == [b"a=1"] * 2
    assert responses[1].status == (415 if body.startswith(b"{") else 400)
    assert responses[1].error.phase == "decode"


def test_a_file_of_a_form_is_decoded(moons_forest: Path) -> None:
    kind = "multipart/form-data; boundary=xyz"
    served = Served(moons_forest)
    for fields in (
        [Field("file", b"2,-1\n-1,1\n", "text/csv"), Field("k", b"v")],
        [Field("f", b"[[2,-1],[-1,1]]", JSON)],
    ):
        assert served.post_item(forms.FormItem(fields), kind).json == [1, 0]
    assert served.post_item(forms.FormItem([Field("k", b"v")]), kind).status == 400
    assert served.post_item(forms.FormItem([Field("a", b"1")]), FORM).status == 415
