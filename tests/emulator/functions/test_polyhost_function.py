"""polyhost as a function: models of a prefix in S3, by events of callers, of a REST API and of a function URL."""

import base64
import io
import json
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.emulator.conftest import REGION, Local
from tests.emulator.functions.harness import Lambda, function_zip
from tests.emulator.functions.test_lifecycle import runtimes
from tests.emulator.gateway.harness import Gateway, proxy
from tests.support.waiting import wait_for

pytest.importorskip("obstore")

APP = (Path(__file__).parents[3] / "deploy" / "lambda" / "app.py").read_text()
TARGET = "X-Amzn-SageMaker-Target-Model"
# Two such models have modules of the same name, and each needs its own.
SCRIPT = """
    import json, os, sys, time

    import part

    STATE = bytearray(ALLOCATED)
    STATE[::4096] = b"x" * len(STATE[::4096])  # memory that is only reserved is not used

    def model_fn(folder):
        print("the model is loaded here")
        return part.NAME

    def input_fn(body, content_type):
        return body if content_type == "application/octet-stream" else json.loads(body)

    def predict_fn(data, model):
        if data == "fail":
            raise ValueError("a reason of the model's own")
        if data == "exit":
            os._exit(7)
        if data == "hang":
            time.sleep(3600)
        return data

    def output_fn(data, accept):
        if isinstance(data, bytes | bytearray):
            return bytes(data)[::-1], "application/octet-stream"
        return json.dumps({"model": part.NAME, "data": data, "pid": os.getpid()}), "application/json"
"""


def archive(name: str, allocated: int = 0) -> bytes:
    """Return a model archive with a script that says which model it is."""
    import textwrap

    content = io.BytesIO()
    files = {
        "code/inference.py": textwrap.dedent(SCRIPT).replace("ALLOCATED", str(allocated)),
        "code/part.py": f"NAME = {name!r}\n",
    }
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for path, source in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(source)
            tar.addfile(member, io.BytesIO(source.encode()))
    return content.getvalue()


class Served:
    """A bucket with archives, and functions that serve them."""

    def __init__(self, functions: Lambda) -> None:
        self.functions = functions
        self.bucket = f"served-{uuid.uuid4().hex[:8]}"
        self.s3 = functions.emulator.client("s3", REGION)
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"models/{key}", Body=content)

    def function(self, memory_mb: int = 512, timeout_s: int = 600, **variables: str) -> str:
        """Create a function for these archives; return its name."""
        name = f"polyhost-{uuid.uuid4().hex[:8]}"
        settings = {"POLYHOST_MODEL_STORE": f"s3://{self.bucket}/models/", "POLYHOST_ZYGOTES": "bare", **variables}
        self.functions.create(
            name,
            "",
            Code={"ZipFile": function_zip(app=APP)},
            MemorySize=memory_mb,
            Timeout=timeout_s,
            Environment={"Variables": settings},
        )
        return name

    def arn(self, name: str) -> str:
        return str(self.functions.client.get_function(FunctionName=name)["Configuration"]["FunctionArn"])

    def answer(self, name: str, model: str, body: object) -> dict[str, Any]:
        """Return what a model answers a caller of the function itself."""
        returned = self.functions.returned(name, {"TargetModel": model, "Body": body})
        assert returned["StatusCode"] == 200
        answer: dict[str, Any] = json.loads(returned["Body"])
        return answer

    def pid_in_the_end(self, name: str, model: str) -> int:
        """Return the pid of a model's process, once the function's Timeout has been enough to load it."""

        def attempt() -> int | None:
            response = self.functions.invoke(name, {"TargetModel": model, "Body": 1})
            return None if "FunctionError" in response else int(json.loads(response["Payload"]["Body"])["pid"])

        return int(wait_for(attempt, f"the answer of {model}", timeout_s=600.0))

    def error(self, name: str, event: object) -> dict[str, Any]:
        response = self.functions.invoke(name, event)
        assert response["FunctionError"] == "Unhandled", response
        error: dict[str, Any] = response["Payload"]
        return error


@pytest.fixture(scope="module")
def served(local: Local) -> Served:
    functions = Lambda(local.emulator)
    served = Served(functions)
    for name in ("first", "second"):
        served.put(f"team/{name}.tar.gz", archive(name))
    return served


@pytest.fixture(scope="module")
def function(served: Served) -> str:
    return served.function()


@pytest.fixture(scope="module")
def gateway(served: Served) -> Iterator[Gateway]:
    with httpx.Client(timeout=600.0, trust_env=False) as http:
        yield Gateway(served.functions, http)


def test_each_model_is_loaded_once_and_has_its_own_process(served: Served, function: str) -> None:
    answers = [served.answer(function, f"team/{name}.tar.gz", [1, 2]) for name in ("first", "second", "first")]
    assert [answer["model"] for answer in answers] == ["first", "second", "first"]
    assert answers[0]["data"] == [1, 2]
    assert answers[0]["pid"] == answers[2]["pid"] != answers[1]["pid"]


def test_failures_reach_the_caller_and_the_log(served: Served, function: str) -> None:
    response = served.functions.invoke(function, {"TargetModel": "team/first.tar.gz", "Body": '"fail"'}, LogType="Tail")
    assert response["FunctionError"] == "Unhandled"
    assert response["Payload"]["errorType"] == "ModelInvocationError"
    assert "a reason of the model's own" in response["Payload"]["errorMessage"]
    log = base64.b64decode(response["LogResult"]).decode()
    assert "Traceback" in log
    assert 'raise ValueError(\\"a reason' in log
    died = served.error(function, {"TargetModel": "team/first.tar.gz", "Body": '"exit"'})
    assert "500 WorkerDiedError: the worker exited with status 7" in died["errorMessage"]
    assert served.answer(function, "team/first.tar.gz", 1)["model"] == "first"  # loaded anew


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"TargetModel": "none.tar.gz", "Body": 1}, "404 ModelNotFoundError"),
        ({"TargetModel": "../first.tar.gz", "Body": 1}, "400 BadTargetError"),
        ({"Body": 1}, "400 BadEventError: the request names no model"),
        ({"TargetModel": "x"}, "400 BadEventError: the event is no request of API Gateway and has no Body"),
        ({"TargetModel": 3, "Body": 1}, "TargetModel is of type int"),
        ({"TargetModel": "x", "Body": 1, "model": "y"}, "the event has model"),
        ({"TargetModel": "x", "Body": "%", "IsBase64Encoded": True}, "is not base64"),
    ],
)
def test_bad_events_are_named(served: Served, function: str, event: object, reason: str) -> None:
    assert reason in served.error(function, event)["errorMessage"]


def test_a_rest_api_with_a_key(served: Served, function: str, gateway: Gateway) -> None:
    operation = {"post": proxy(served.arn(function), with_key=True)}
    paths = {"/models/{model+}": operation, "/invocations": operation}
    api = gateway.api(function, paths, **{"x-amazon-apigateway-binary-media-types": ["application/octet-stream"]})
    key = {"x-api-key": gateway.key(api, function)}
    json_type = {"content-type": "application/json"}
    assert gateway.call(api, "/models/team/first.tar.gz", "POST", content="1", headers=json_type).status_code == 403
    by_path = gateway.call(api, "/models/team/first.tar.gz", "POST", content="1", headers=key | json_type)
    assert (by_path.status_code, by_path.json()["model"]) == (200, "first")
    assert by_path.headers["content-type"] == "application/json"
    headers = key | json_type | {TARGET: "team/second.tar.gz"}
    assert gateway.call(api, "/invocations", "POST", content="[]", headers=headers).json()["model"] == "second"
    missing = gateway.call(api, "/models/none", "POST", content="1", headers=key | json_type)
    assert (missing.status_code, missing.json()["type"]) == (404, "ModelNotFoundError")
    unnamed = gateway.call(api, "/invocations", "POST", content="1", headers=key | json_type)
    assert (unnamed.status_code, unnamed.json()["type"]) == (400, "BadEventError")
    failed = gateway.call(api, "/invocations", "POST", content='"fail"', headers=headers)
    assert (failed.status_code, failed.json()["message"]) == (500, "a reason of the model's own")
    binary = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}
    reply = gateway.call(api, "/invocations", "POST", content=b"\x00\xff1", headers=headers | binary)
    assert (reply.status_code, reply.content) == (200, b"1\xff\x00")


def test_a_function_url(served: Served, function: str, gateway: Gateway) -> None:
    url = served.functions.client.create_function_url_config(FunctionName=function, AuthType="NONE")["FunctionUrl"]
    host = url.removeprefix("https://").rstrip("/")
    headers = {"host": host, TARGET: "team/second.tar.gz", "content-type": "application/json"}
    response = gateway.http.post(f"{served.functions.emulator.url}/", content="[3]", headers=headers)
    assert (response.status_code, response.json()["data"]) == (200, [3])


def test_the_model_used_longest_ago_makes_room(served: Served) -> None:
    for name in ("a", "b", "c"):
        served.put(f"large/{name}.tar.gz", archive(name, 150 << 20))
    function = served.function(memory_mb=512)
    pids = {name: served.answer(function, f"large/{name}.tar.gz", 1)["pid"] for name in ("a", "b", "a", "c")}
    assert served.answer(function, "large/a.tar.gz", 1)["pid"] == pids["a"]
    assert served.answer(function, "large/b.tar.gz", 1)["pid"] != pids["b"]


def test_a_model_that_hangs_is_killed_and_the_environment_stays(served: Served) -> None:
    function = served.function(timeout_s=30)
    pids = {name: served.pid_in_the_end(function, f"team/{name}.tar.gz") for name in ("first", "second", "first")}
    before = len(runtimes(function))
    request = {"requestContext": {}, "headers": {TARGET: "team/first.tar.gz"}, "body": '"hang"'}
    returned = served.functions.returned(function, request)
    failure = json.loads(returned["body"])
    assert (returned["statusCode"], failure["type"]) == (504, "DeadlineError")
    assert failure["message"].startswith("no response within ") and failure["model"] == "team/first.tar.gz"
    assert len(runtimes(function)) == before - 1
    assert served.answer(function, "team/second.tar.gz", 1)["pid"] == pids["second"]
    anew = served.answer(function, "team/first.tar.gz", 1)
    assert anew["model"] == "first" and anew["pid"] != pids["first"]


def test_the_only_model_loaded_at_the_start_needs_no_name(served: Served) -> None:
    function = served.function(POLYHOST_LOAD_AT_START="team/first.tar.gz")
    returned = served.functions.returned(function, {"Body": 5})
    assert json.loads(returned["Body"])["model"] == "first"


def test_settings_that_cannot_be_used_are_named(served: Served) -> None:
    function = served.function(POLYHOST_MODEL_STORE="ftp://x/")
    assert "POLYHOST_MODEL_STORE='ftp://x/': must be" in served.error(function, {"Body": 1})["errorMessage"]
