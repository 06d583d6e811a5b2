"""A scikit-learn model in S3, a function that downloads and asks it, and an API with a key in front."""

import pickle

import pytest

from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import function_zip
from tests.emulator.gateway.harness import Gateway, proxy

SOURCE = """
    import json
    import os
    import pickle

    import boto3

    STORE = boto3.client("s3")
    COPY = "/tmp/" + os.environ["MODEL"]

    def handler(event, context):
        point = json.loads(event["body"])
        STORE.download_file(os.environ["BUCKET"], os.environ["MODEL"], COPY)
        with open(COPY, "rb") as file:
            forest = pickle.load(file)
        label = forest.predict([[float(point["data1"]), float(point["data2"])]])[0]
        return {"statusCode": 200, "body": json.dumps({"prediction": str(label)})}
"""


def test_a_classifier_behind_an_api_key(gateway: Gateway, name: str) -> None:
    datasets, ensemble = pytest.importorskip("sklearn.datasets"), pytest.importorskip("sklearn.ensemble")
    points, labels = datasets.make_moons(n_samples=80, noise=0.2, random_state=1)
    forest = ensemble.RandomForestClassifier(n_estimators=4, random_state=1).fit(points, labels)
    s3 = gateway.functions.emulator.client("s3", REGION)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="forest.p", Body=pickle.dumps(forest))
    s3.put_object(Bucket=name, Key="code.zip", Body=function_zip(app=SOURCE))
    created = gateway.functions.create(
        name,
        "",
        Code={"S3Bucket": name, "S3Key": "code.zip"},
        MemorySize=1024,
        Environment={"Variables": {"BUCKET": name, "MODEL": "forest.p"}},
    )
    for point in points[:2]:
        body = f'{{"data1": "{point[0]}", "data2": {point[1]}}}'
        answer = gateway.functions.returned(name, {"body": body})
        assert answer["body"] == f'{{"prediction": "{forest.predict([point])[0]}"}}'
    api = gateway.api(name, {"/classify": {"post": proxy(created["FunctionArn"], with_key=True)}})
    key = gateway.key(api, name)
    assert gateway.call(api, "/classify", "POST", content=body).status_code == 403
    response = gateway.call(api, "/classify", "POST", content=body, headers={"x-api-key": key})
    assert (response.status_code, response.json()) == (200, {"prediction": str(forest.predict([points[1]])[0])})
