"""`PipelineModel`: a serial inference pipeline."""

import json

from sagemaker.pipeline import PipelineModel
from sagemaker.session import Session

from tests.emulator.sdks.v2.common import INSTANCE, ROLE, JsonPredictor, model, wait, wait_until_gone


def main(name: str) -> None:
    session = Session()
    steps = [model(session, name, part, env={"SMALL_MARK": part}) for part in ("scale", "classify", "label")]
    pipeline = PipelineModel(steps, ROLE, JsonPredictor, name=name, sagemaker_session=session)
    predictor = pipeline.deploy(1, INSTANCE, endpoint_name=name, wait=False)
    wait(session, name)
    label = predictor.predict(b"5.1,3.5")
    classify = json.loads(label["body"])
    scale = json.loads(classify["body"])
    assert [(step["name"], step["mark"]) for step in (scale, classify, label)] == [
        (part, part) for part in ("scale", "classify", "label")
    ]
    assert scale["body"] == "5.1,3.5"
    predictor.delete_predictor()
    wait_until_gone(session, name)
    pipeline.delete_model()
