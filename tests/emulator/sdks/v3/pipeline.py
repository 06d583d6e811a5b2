"""A serial inference pipeline."""

import json

from sagemaker.core.shapes import InferenceExecutionConfig

from tests.emulator.sdks.v3.common import INSTANCE, container, endpoint, invoke, model, variant


def main(name: str) -> None:
    containers = [container(name, part) for part in ("scale", "classify", "label")]
    serial = InferenceExecutionConfig(mode="Serial")
    with (
        model(name, *containers, inference_execution_config=serial),
        endpoint(name, variant(name, **INSTANCE)) as created,
    ):
        label = invoke(created, b"5.1,3.5")
        classify = json.loads(label["body"])
        scale = json.loads(classify["body"])
        assert [step["name"] for step in (scale, classify, label)] == ["scale", "classify", "label"]
        assert scale["body"] == "5.1,3.5"
