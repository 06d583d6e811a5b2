"""polyhost as a function of Lambda beside functions that load their model themselves, in one emulator.

python -m benchmarks.lambda_function; run it on a machine that does nothing else. Two functions for comparison: one
fetches and unpickles its model in each call, as a well-known walkthrough has it, the other one once, at the module's
level. All have the same random forest in S3, and are called in turn, so that a busy moment hits each alike.
"""

import argparse
import base64
import io
import json
import pickle
import re
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.machine import Machine
from benchmarks.servers import ROOT
from polyhost.processes import RunningEmulator, running_emulator

BUCKET, REGION = "bench", "eu-west-1"
POINT = [0.5, -0.25]
ROLE = "arn:aws:iam::123456789012:role/bench"

_COMMON = """
import io, json, os, pickle
import boto3
import sklearn.ensemble

store = boto3.client("s3")

def fetched():
    content = store.get_object(Bucket=os.environ["BUCKET"], Key="forest.p")["Body"].read()
    return pickle.loads(content)

def answered(forest, event):
    point = json.loads(event["body"])
    label = forest.predict([[float(point["data1"]), float(point["data2"])]])[0]
    return {"statusCode": 200, "body": json.dumps({"prediction": str(label)})}
"""
PER_CALL = f"{_COMMON}\ndef handler(event, context):\n    return answered(fetched(), event)\n"
PER_ENVIRONMENT = f"{_COMMON}\nforest = fetched()\n\ndef handler(event, context):\n    return answered(forest, event)\n"


@dataclass
class MeasuredFunction:
    """A function, and what its calls took, in milliseconds as the client sees it."""

    title: str
    name: str
    source: str
    event: Mapping[str, Any]
    variables: Mapping[str, str] = field(default_factory=dict)
    cold: list[float] = field(default_factory=list)
    init: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)

    def row(self) -> str:
        cells = [
            self.title,
            *(f"{median(times):,.1f} ms" if times else "-" for times in (self.cold, self.init, self.warm)),
        ]
        return f"| {' | '.join(cells)} |"


def functions() -> list[MeasuredFunction]:
    own = {"body": json.dumps({"data1": POINT[0], "data2": POINT[1]})}
    polyhost = {"TargetModel": "forest.tar.gz", "Body": [POINT]}
    app = (ROOT / "deploy" / "lambda" / "app.py").read_text()
    store = {"POLYHOST_MODEL_STORE": f"s3://{BUCKET}/models/", "POLYHOST_ZYGOTES": "sklearn"}
    return [
        MeasuredFunction("fetches its model in each call", "per-call", PER_CALL, own),
        MeasuredFunction("fetches its model at the module's level", "per-environment", PER_ENVIRONMENT, own),
        MeasuredFunction("polyhost", "polyhost", app, polyhost, store),
        MeasuredFunction(
            "polyhost, `POLYHOST_LOAD_AT_START`",
            "polyhost-at-start",
            app,
            polyhost,
            store | {"POLYHOST_LOAD_AT_START": "forest.tar.gz"},
        ),
    ]


class FunctionBench:
    def __init__(self, emulator: RunningEmulator, trees: int) -> None:
        self._emulator = emulator
        self._lambda = self._client("lambda")
        trust = {"Version": "2012-10-17", "Statement": []}
        self._client("iam").create_role(RoleName="bench", AssumeRolePolicyDocument=json.dumps(trust))
        self._store(trees)

    def create(self, function: MeasuredFunction) -> None:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            file.writestr("app.py", function.source)
        self._lambda.create_function(
            FunctionName=function.name,
            Runtime="python3.11",
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": content.getvalue()},
            MemorySize=1024,
            Timeout=300,
            Environment={"Variables": {"BUCKET": BUCKET, **function.variables}},
        )

    def cold_call(self, function: MeasuredFunction, number: int) -> None:
        """Call a new environment: one of a changed configuration."""
        variables = {"BUCKET": BUCKET, "NUMBER": str(number), **function.variables}
        self._lambda.update_function_configuration(FunctionName=function.name, Environment={"Variables": variables})
        seconds, log = self._call(function)
        function.cold.append(seconds * 1e3)
        if found := re.search(r"Init Duration: ([\d.]+) ms\t?$", log, re.M):
            function.init.append(float(found[1]))

    def warm_call(self, function: MeasuredFunction) -> None:
        function.warm.append(self._call(function)[0] * 1e3)

    def _call(self, function: MeasuredFunction) -> tuple[float, str]:
        payload = json.dumps(function.event)
        start = time.perf_counter()
        response = self._lambda.invoke(FunctionName=function.name, Payload=payload, LogType="Tail")
        content = response["Payload"].read()
        seconds = time.perf_counter() - start
        if "FunctionError" in response:
            raise RuntimeError(f"{function.name}: {content.decode()}")
        return seconds, base64.b64decode(response["LogResult"]).decode()

    def _store(self, trees: int) -> None:
        import joblib
        from sklearn.datasets import make_moons
        from sklearn.ensemble import RandomForestClassifier

        points, labels = make_moons(n_samples=100, noise=0.25, random_state=3)
        forest = RandomForestClassifier(n_estimators=trees, random_state=0).fit(points, labels)
        s3 = self._client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=BUCKET, Key="forest.p", Body=pickle.dumps(forest))
        with tempfile.TemporaryDirectory(prefix="polyhost-bench-") as folder:
            model, archive = Path(folder, "model.joblib"), Path(folder, "forest.tar.gz")
            joblib.dump(forest, model)
            with tarfile.open(archive, "w:gz") as tar:
                tar.add(model, "model.joblib")
            s3.upload_file(str(archive), BUCKET, "models/forest.tar.gz")

    def _client(self, service: str) -> Any:
        settings = Config(retries={"total_max_attempts": 1}, read_timeout=600)
        keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
        return boto3.client(service, region_name=REGION, endpoint_url=self._emulator.url, config=settings, **keys)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lambda_function", description=__doc__)
    parser.add_argument("--cold", type=int, default=5, help="cold calls of each function; 5")
    parser.add_argument("--warm", type=int, default=50, help="warm calls of each function; 50")
    parser.add_argument("--trees", type=int, default=5, help="of the random forest; 5")
    given = parser.parse_args(arguments)
    measured = functions()
    with (
        tempfile.TemporaryDirectory(prefix="polyhost-bench-") as folder,
        running_emulator(Path(folder)) as emulator,
    ):
        bench = FunctionBench(emulator, given.trees)
        for function in measured:
            bench.create(function)
        for number in range(given.cold):
            for function in measured:
                bench.cold_call(function, number)
        for _ in range(given.warm):
            for function in measured:
                bench.warm_call(function)
    print(f"{Machine.current()}; {given.trees} trees, {given.cold} cold and {given.warm} warm calls, medians\n")
    print("| function of 1,024 MB | cold call | of which initialization | warm call |\n|---|---|---|---|")
    print("\n".join(function.row() for function in measured))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
