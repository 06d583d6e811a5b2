"""Calls of functions: results, errors, limits, and what a function finds in its environment."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.hosting.control_group import OwnControlGroup
from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import Lambda

ECHO = """
    import os

    calls = 0

    def handler(event, context):
        global calls
        calls += 1
        return {"event": event, "calls": calls, "pid": os.getpid(), "request": context.aws_request_id}
"""


def error_of(info: pytest.ExceptionInfo[ClientError]) -> tuple[int, str, str]:
    response = info.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_an_environment_is_reused(functions: Lambda, name: str) -> None:
    created = functions.create(name, ECHO)
    assert created["State"] == "Active"
    first = functions.invoke(name, {"a": ["é", 1]})
    assert (first["StatusCode"], first["ExecutedVersion"]) == (200, "$LATEST")
    assert first["Payload"]["event"] == {"a": ["é", 1]} and first["Payload"]["calls"] == 1
    assert functions.returned(name)["calls"] == 2


def test_a_function_finds_its_environment(functions: Lambda, name: str) -> None:
    source = """
        import os, tempfile

        def handler(event, context):
            return {
                "environ": dict(os.environ), "cwd": os.getcwd(), "temp": os.listdir("/tmp"),
                "name": context.function_name, "arn": context.invoked_function_arn,
                "memory": context.memory_limit_in_mb, "left": context.get_remaining_time_in_millis(),
                "client": context.client_context and context.client_context.custom,
            }
    """
    functions.create(name, source, MemorySize=256, Timeout=30, Environment={"Variables": {"COLOUR": "green"}})
    context = base64.b64encode(json.dumps({"custom": {"who": "me"}}).encode()).decode()
    seen = functions.returned(name, ClientContext=context)
    environ = seen["environ"]
    assert (environ["COLOUR"], environ["AWS_REGION"], environ["AWS_LAMBDA_FUNCTION_NAME"]) == ("green", REGION, name)
    assert environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == seen["memory"] == "256"
    assert seen["cwd"] == environ["LAMBDA_TASK_ROOT"] and seen["temp"] == []
    assert (seen["name"], seen["client"]) == (name, {"who": "me"})
    assert seen["arn"] == f"arn:aws:lambda:{REGION}:123456789012:function:{name}"
    assert 0 < seen["left"] <= 30_000


def test_a_function_calls_the_emulators_aws(functions: Lambda, name: str) -> None:
    source = """
        import boto3

        def handler(event, context):
            s3 = boto3.client("s3")
            s3.download_file(event["bucket"], "key", "/tmp/copy")
            return open("/tmp/copy").read()
    """
    s3 = functions.emulator.client("s3", REGION)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="key", Body=b"from S3")
    functions.create(name, source)
    assert functions.returned(name, {"bucket": name}) == "from S3"


def test_temp_is_the_environments_own_and_code_is_read_only(functions: Lambda, runner: str, name: str) -> None:
    written = functions.returned(
        runner, {"run": f"import pathlib\nresult = pathlib.Path('/tmp/{name}').write_text('x')"}
    )
    assert written == 1 and not Path("/tmp", name).exists()
    response = functions.invoke(runner, {"run": "open('new.py', 'w')"})
    assert response["Payload"]["errorType"] == "OSError" and "Read-only" in response["Payload"]["errorMessage"]


@pytest.mark.parametrize(
    ("statement", "error_type", "message"),
    [
        ("raise ValueError('no good')", "ValueError", "no good"),
        ("result = object()", "Runtime.MarshalError", "Unable to marshal response"),
        ("raise SystemExit(2)", "Runtime.ExitError", "exit status 2"),
    ],
)
def test_what_a_function_does_wrong_is_its_error(
    functions: Lambda, runner: str, statement: str, error_type: str, message: str
) -> None:
    response = functions.invoke(runner, {"run": statement})
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    assert response["Payload"]["errorType"] == error_type and message in response["Payload"]["errorMessage"]


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("x = 1\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("import missing_module\n", "Runtime.ImportModuleError", "Unable to import module 'app'"),
        ("def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("raise KeyError('at import')\n", "KeyError", "'at import'"),
    ],
)
def test_what_is_wrong_with_a_module_is_an_error_of_the_function(
    functions: Lambda, name: str, source: str, error_type: str, message: str
) -> None:
    functions.create(name, source)
    response = functions.invoke(name)
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    assert response["Payload"]["errorType"] == error_type
    assert message in response["Payload"]["errorMessage"]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
        ("os.abort()", "Runtime exited with error: signal: aborted"),
    ],
)
def test_a_runtime_that_ends_is_replaced(functions: Lambda, runner: str, statement: str, reason: str) -> None:
    response = functions.invoke(runner, {"run": f"import os\n{statement}"})
    request = response["ResponseMetadata"]["RequestId"]
    assert response["FunctionError"] == "Unhandled"
    assert response["Payload"] == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request} Error: {reason}",
    }
    assert functions.returned(runner, {"run": "result = 'well'"}) == "well"


def test_a_function_above_its_memory_is_killed(functions: Lambda, runner: str, name: str) -> None:
    probe = OwnControlGroup.make(name, 1 << 27)
    if probe is None:
        pytest.skip("control groups cannot be made here")
    probe.remove()
    response = functions.invoke(runner, {"run": "bytearray(500 << 20)"})
    assert response["Payload"]["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert functions.returned(runner, {"run": "result = len(bytearray(1 << 20))"}) == 1 << 20


def test_a_function_that_takes_too_long_is_ended(functions: Lambda, name: str) -> None:
    source = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'slept'\n"
    functions.create(name, source, Timeout=2)
    response = functions.invoke(name, 600, LogType="Tail")
    assert response["FunctionError"] == "Unhandled"
    assert response["Payload"]["errorType"] == "Sandbox.Timedout"
    assert response["Payload"]["errorMessage"].endswith("Error: Task timed out after 2.00 seconds")
    log = base64.b64decode(response["LogResult"]).decode()
    assert "Task timed out after 2.00 seconds" in log and "Status: timeout" in log
    assert functions.returned(name, 0) == "slept"


def test_what_is_too_large_in_and_out(functions: Lambda, runner: str) -> None:
    assert len(functions.returned(runner, {"run": "result = 'x' * (5 << 20)"})) == 5 << 20
    response = functions.invoke(runner, {"run": "result = 'x' * (7 << 20)"})
    assert response["Payload"]["errorType"] == "Function.ResponseSizeTooLarge"
    assert functions.returned(runner, {"run": "result = 'x'"}) == "x"
    with pytest.raises(ClientError) as info:
        functions.invoke(runner, "x" * (6 << 20))
    status, code, message = error_of(info)
    assert (status, code) == (413, "RequestEntityTooLargeException") and "limit 6291456 bytes" in message


def test_dry_runs_and_bad_requests(functions: Lambda, runner: str) -> None:
    assert functions.invoke(runner, InvocationType="DryRun")["StatusCode"] == 204
    for members, expected in (
        ({"FunctionName": "missing"}, (404, "ResourceNotFoundException", "Function not found: arn:aws:lambda")),
        ({"FunctionName": runner, "Qualifier": "7"}, (404, "ResourceNotFoundException", f":function:{runner}:7")),
        ({"FunctionName": runner, "Payload": b"{no"}, (400, "InvalidRequestContentException", "Could not parse")),
    ):
        with pytest.raises(ClientError) as info:
            functions.client.invoke(**members)
        status, code, message = error_of(info)
        assert (status, code) == expected[:2] and expected[2] in message


def test_a_runtime_that_the_emulator_lacks_is_named(functions: Lambda, name: str) -> None:
    functions.create(name, ECHO, Runtime="nodejs22.x")
    with pytest.raises(ClientError, match=r"Python only.*nodejs22.x"):
        functions.invoke(name)


def test_calls_at_the_same_time_have_environments_of_their_own(functions: Lambda, name: str) -> None:
    source = """
        import os, time, boto3

        def handler(event, context):
            # Waits for the others, which must run at the same time.
            s3 = boto3.client("s3")
            s3.put_object(Bucket=event["bucket"], Key=context.aws_request_id, Body=b"")
            while s3.list_objects_v2(Bucket=event["bucket"])["KeyCount"] < 3:
                time.sleep(0.05)
            return context.log_stream_name
    """
    s3 = functions.emulator.client("s3", REGION)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    functions.create(name, source, Timeout=120)
    with ThreadPoolExecutor(3) as pool:
        streams = list(pool.map(lambda _: functions.returned(name, {"bucket": name}), range(3)))
    assert len(set(streams)) == 3


def test_a_functions_concurrency_is_limited(functions: Lambda, name: str) -> None:
    functions.create(name, ECHO)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    client: Any = functions.client
    with pytest.raises(client.exceptions.TooManyRequestsException) as info:
        functions.invoke(name)
    assert info.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert error_of(info)[0] == 429
    functions.client.delete_function_concurrency(FunctionName=name)
    assert functions.returned(name)["calls"] == 1
