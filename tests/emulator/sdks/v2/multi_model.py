"""`MultiDataModel`: many models behind one endpoint, and more of them while it serves."""

import tempfile
from pathlib import Path

from sagemaker.multidatamodel import MultiDataModel
from sagemaker.session import Session

from tests.emulator.archives import archive
from tests.emulator.sdks.v2.common import INSTANCE, error_of, model, upload, wait, wait_until_gone


def main(name: str) -> None:
    session = Session()
    prefix = f"s3://{session.default_bucket()}/{name}/models/"
    models = MultiDataModel(name, prefix, model=model(session, name, "template"), sagemaker_session=session)
    models.add_model(upload(session, f"{name}/trained", "one"), "one.tar.gz")
    predictor = models.deploy(1, INSTANCE, endpoint_name=name, wait=False)
    wait(session, name)
    assert predictor.predict(b"?", target_model="one.tar.gz")["name"] == "one"
    assert error_of(lambda: predictor.predict(b"?", target_model="two.tar.gz")).response["Error"]["Code"] == (
        "ValidationError"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "two.tar.gz")
        path.write_bytes(archive("two"))
        models.add_model(str(path), "seoul/two.tar.gz")
    assert sorted(models.list_models()) == ["one.tar.gz", "seoul/two.tar.gz"]
    assert predictor.predict(b"?", target_model="seoul/two.tar.gz")["name"] == "two"
    predictor.delete_predictor()
    wait_until_gone(session, name)
    session.delete_model(name)
