"""From CreateFunction to DeleteFunction: code, versions, aliases, changes; logs; and that nothing is left over."""

import os
import signal
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from polyhost.processes import processes_with, running_emulator
from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import ClientsOf, Lambda, function_zip
from tests.support.waiting import wait_for

CONSTANT = "def handler(event, context):\n    return {!r}\n"
PID = "import os\ndef handler(event, context):\n    print('seen', event)\n    return context.log_stream_name\n"


def runtimes(function: str) -> list[int]:
    """Return the processes on this machine that run the function."""
    return processes_with("AWS_LAMBDA_FUNCTION_NAME", function, -1)


def test_code_from_s3_and_its_updates(functions: Lambda, name: str) -> None:
    s3 = functions.emulator.client("s3", REGION)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="one.zip", Body=function_zip(app=CONSTANT.format("one")))
    functions.create(name, "", Code={"S3Bucket": name, "S3Key": "one.zip"})
    assert functions.returned(name) == "one"
    functions.client.update_function_code(FunctionName=name, ZipFile=function_zip(app=CONSTANT.format("two")))
    assert functions.returned(name) == "two"
    source = "import os\ndef other(event, context):\n    return os.environ['COLOUR']\n"
    functions.client.update_function_code(FunctionName=name, ZipFile=function_zip(app=source))
    functions.client.update_function_configuration(
        FunctionName=name, Handler="app.other", Environment={"Variables": {"COLOUR": "green"}}
    )
    assert functions.returned(name) == "green"
    assert functions.client.get_function_configuration(FunctionName=name)["Handler"] == "app.other"


def test_versions_and_aliases(functions: Lambda, name: str) -> None:
    functions.create(name, CONSTANT.format("one"))
    assert functions.client.publish_version(FunctionName=name)["Version"] == "1"
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.client.update_function_code(FunctionName=name, ZipFile=function_zip(app=CONSTANT.format("two")))
    assert functions.client.publish_version(FunctionName=name)["Version"] == "2"
    response = functions.invoke(name, Qualifier="live")
    assert (response["Payload"], response["ExecutedVersion"]) == ("one", "1")
    functions.client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:{name}:live"
    assert functions.returned(arn) == functions.returned(f"{name}:2") == functions.returned(name) == "two"


def test_a_layers_packages_are_found(functions: Lambda, name: str) -> None:
    layer = functions.client.publish_layer_version(
        LayerName=name, Content={"ZipFile": function_zip(**{"python/shared_module": "VALUE = 'from the layer'\n"})}
    )
    source = "import shared_module\ndef handler(event, context):\n    return shared_module.VALUE\n"
    functions.create(name, source, Layers=[layer["LayerVersionArn"]])
    assert functions.returned(name) == "from the layer"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip uploaded file"),
        ({"Code": {"ZipFile": function_zip(**{"../outside": ""})}}, "Could not unzip uploaded file"),
        ({"Code": {"S3Bucket": "missing-bucket", "S3Key": "x"}}, "S3 Error Code: NoSuchBucket"),
        ({"Role": "arn:aws:iam::123456789012:role/missing"}, "cannot be assumed by Lambda"),
        ({"Timeout": 901}, "Member must have value from 1 to 900"),
        ({"MemorySize": 10_241}, "Member must have value from 128 to 10240"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "AWS_REGION"),
        ({"Environment": {"Variables": {"LONG": "x" * 4096}}}, "exceeded the 4KB limit"),
    ],
)
def test_what_cannot_be_created_is_rejected(
    functions: Lambda, name: str, members: dict[str, object], message: str
) -> None:
    with pytest.raises(ClientError) as info:
        functions.create(name, CONSTANT.format(1), **members)
    assert info.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert message in info.value.response["Error"]["Message"]
    assert name not in [item["FunctionName"] for item in functions.client.list_functions()["Functions"]]


def test_code_that_is_no_zip_leaves_the_function_as_it_was(functions: Lambda, name: str) -> None:
    functions.create(name, CONSTANT.format("one"))
    with pytest.raises(ClientError, match="Could not unzip"):
        functions.client.update_function_code(FunctionName=name, ZipFile=b"no zip")
    assert functions.returned(name) == "one"


def test_logs_have_lambdas_lines_around_what_is_printed(functions: Lambda, name: str) -> None:
    functions.create(name, PID, MemorySize=512)
    response = functions.invoke(name, 7)
    request = response["ResponseMetadata"]["RequestId"]
    wait_for(lambda: len(functions.log_lines(name)) >= 4, "the lines of a call")
    start, printed, end, report = functions.log_lines(name)
    assert start == f"START RequestId: {request} Version: $LATEST"
    assert (printed, end) == ("seen 7", f"END RequestId: {request}")
    fields = dict(field.split(": ", 1) for field in report.removeprefix("REPORT ").strip().split("\t"))
    assert fields.keys() == {
        "RequestId", "Duration", "Billed Duration", "Memory Size", "Max Memory Used", "Init Duration"
    }  # fmt: skip
    assert fields["Memory Size"] == "512 MB" and 0 < int(fields["Max Memory Used"].split()[0]) <= 512
    streams = functions.logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == [response["Payload"]]


def test_events_run_later_and_again_after_failures(functions: Lambda, name: str) -> None:
    source = "def handler(event, context):\n    print('attempt', context.aws_request_id)\n    raise ValueError(event)\n"
    functions.create(name, source)
    functions.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    response = functions.invoke(name, "x", InvocationType="Event")
    assert response["StatusCode"] == 202 and response["Payload"] is None
    request = response["ResponseMetadata"]["RequestId"]
    wait_for(lambda: f"attempt {request}" in functions.log_lines(name), "the attempt's line")
    wait_for(lambda: any(line.startswith("REPORT") for line in functions.log_lines(name)), "the report")


def test_a_deleted_function_leaves_no_process(functions: Lambda, name: str) -> None:
    source = """
        import subprocess

        def handler(event, context):
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
    """
    functions.create(name, source)
    functions.returned(name)
    assert len(runtimes(name)) >= 2
    functions.client.delete_function(FunctionName=name)
    assert runtimes(name) == []
    with pytest.raises(ClientError, match="Function not found"):
        functions.invoke(name)
    functions.create(name, CONSTANT.format("again"))
    assert functions.returned(name) == "again"


@pytest.mark.slow
def test_a_killed_emulator_leaves_no_process(tmp_path: Path, name: str) -> None:
    with running_emulator(tmp_path) as emulator:
        functions = Lambda(ClientsOf(emulator.url))
        source = "import subprocess\ndef handler(event, context):\n    subprocess.Popen(['sleep', '1000'])\n"
        functions.create(name, source)
        functions.returned(name)
        assert runtimes(name)
        os.kill(emulator.process.pid, signal.SIGKILL)
        wait_for(lambda: runtimes(name) == [], "the end of the function's processes")
