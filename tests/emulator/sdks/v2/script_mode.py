"""`SKLearnModel` with a script of its own: the SDK packs both into one archive, and a container of polyhost serves it.

`python -m tests.emulator.sdks.v2.script_mode NAME ARCHIVE SCRIPT`; the answers are the sums of rows of numbers.
"""

import numpy as np
from sagemaker.session import Session
from sagemaker.sklearn.model import SKLearnModel

from tests.emulator.sdks.v2.common import IMAGE, INSTANCE, ROLE, wait, wait_until_gone


def main(name: str, archive: str, script: str) -> None:
    session = Session()
    model = SKLearnModel(
        session.upload_data(archive, key_prefix=name),
        ROLE,
        entry_point=script,
        image_uri=IMAGE,
        name=name,
        env={"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "sklearn"},
        sagemaker_session=session,
    )
    predictor = model.deploy(1, INSTANCE, endpoint_name=name, wait=False)
    wait(session, name)
    answer = predictor.predict(np.array([[1.0, 2.0], [3.0, 4.0]]))  # sent and received as application/x-npy
    np.testing.assert_allclose(answer, [3.0, 7.0])
    predictor.delete_predictor()
    wait_until_gone(session, name)
    model.delete_model()
