"""moto's objects as bytes, and what is refused in them."""

import os
import pickle
from typing import Any

import pytest
from moto.iam.models import IAMBackend
from moto.sns.models import SNSBackend

from polyhost.emulator.moto_services.state import pickles

ACCOUNT = "123456789012"


class Harmful:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def test_a_topic_is_loaded_into_the_backend_without_what_was_published() -> None:
    before, after = SNSBackend("us-east-1", ACCOUNT), SNSBackend("us-east-1", ACCOUNT)
    topic = before.create_topic("done")
    topic.sent_notifications.append(("id", "x" * 10_000, None, None, None))
    content = pickles.dump({"topics": before.topics})
    assert len(content) < 10_000
    loaded = pickles.load(content, after)["topics"][topic.arn]
    assert loaded.sns_backend is after
    assert loaded.sent_notifications == []
    assert topic.sent_notifications != []


@pytest.mark.parametrize(
    "harmful",
    [
        Harmful(os.system, "true"),
        Harmful(eval, "1"),
        Harmful(getattr, "a", "upper"),
        Harmful(pickle.loads, b""),
    ],
)
def test_content_that_would_call_a_function_is_refused(harmful: Harmful) -> None:
    with pytest.raises(pickle.UnpicklingError, match="unexpected"):
        pickles.load(pickle.dumps(harmful), IAMBackend("aws", ACCOUNT))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("moto.s3.models", "os"),
        ("moto.s3.models", "os.system"),
        ("moto.iam.models", "iam_backends"),
        ("moto.server", "main"),
        ("moto.core.utils", "get_equivalent_url_in_aws_domain"),
    ],
)
def test_only_classes_are_taken_from_moto(module: str, name: str) -> None:
    content = b"\x80\x05" + pickle.SHORT_BINUNICODE + bytes([len(module)]) + module.encode()
    content += pickle.SHORT_BINUNICODE + bytes([len(name)]) + name.encode() + pickle.STACK_GLOBAL + b"."
    with pytest.raises(pickle.UnpicklingError, match="unexpected"):
        pickles.load(content, IAMBackend("aws", ACCOUNT))
