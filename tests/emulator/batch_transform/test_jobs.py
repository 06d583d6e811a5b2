"""Transform jobs from the objects in S3 to the outputs in S3, with real containers."""

import json
import struct
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.emulator.batch_transform.harness import Batch, logged, zipped
from tests.emulator.conftest import REGION
from tests.support.waiting import wait_for

CSV = {
    "input": {"ContentType": "text/csv", "SplitType": "Line"},
    "output": {"Accept": "text/csv", "AssembleWith": "Line"},
}
MB = 1 << 20


def test_each_object_gets_an_output_of_its_name(batch: Batch) -> None:
    objects = {"a.csv": b"1,2\n3,4\n", "deep/er/b c.csv": b"5,6", "empty.csv": b"", "folder/": b""}
    job = batch.run("names", objects, **CSV)
    assert job["TransformJobStatus"] == "Completed", job
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert "FailureReason" not in job
    assert batch.outputs("names") == {
        "a.csv.out": b"3.0\n7.0\n",
        "deep/er/b c.csv.out": b"11.0\n",
        "empty.csv.out": b"",
    }
    head = batch.s3.head_object(Bucket="batch", Key="names/out/a.csv.out")
    assert head["ContentType"] == "text/csv"
    state = batch.state("names")
    assert (state["objects"], state["completed"], state["failed"], state["records"]) == (3, 3, 0, 3)
    assert state["instances"] == []


@pytest.mark.parametrize(
    ("uri", "outputs"),
    [
        ("s3://batch/prefixes/in", ["a.csv.out", "b/c.csv.out"]),
        ("s3://batch/prefixes/in/a.csv", ["a.csv.out"]),
        ("s3://batch/prefixes/in/b/", ["c.csv.out"]),
        ("s3://batch/prefixes/i", ["in/a.csv.out", "in/b/c.csv.out"]),
        ("https://s3-ap-northeast-2.amazonaws.com/batch/prefixes/in/b/c", ["c.csv.out"]),
    ],
)
def test_a_prefix_need_not_be_a_folder(
    batch: Batch, request: pytest.FixtureRequest, uri: str, outputs: list[str]
) -> None:
    name = f"prefix-{abs(hash(uri))}"
    batch.put("prefixes", {"a.csv": b"1", "b/c.csv": b"2"})
    assert batch.run(name, {}, source={"S3Uri": uri}, **CSV)["TransformJobStatus"] == "Completed"
    assert sorted(batch.outputs(name)) == outputs


def test_a_manifest_names_the_objects(batch: Batch) -> None:
    manifest = [{"prefix": "s3://batch/listed/in/"}, "a.csv", "b/c.csv", "a.csv"]
    batch.s3.put_object(Bucket="batch", Key="listed/manifest", Body=json.dumps(manifest).encode())
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://batch/listed/manifest"}
    job = batch.run("listed", {"a.csv": b"1,1", "b/c.csv": b"2,2", "d.csv": b"3,3"}, source=source, **CSV)
    assert job["TransformJobStatus"] == "Completed", job
    assert batch.outputs("listed") == {"a.csv.out": b"2.0\n", "b/c.csv.out": b"4.0\n"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a.csv", "it is not JSON"),
        (b"{}", "it is not a list"),
        (b"[]", "it is not a list"),
        (b'["a.csv"]', "it does not begin with"),
        (b'[{"prefix": "/tmp/"}, "a.csv"]', "it does not begin with"),
        (b'[{"prefix": "s3://batch/x/"}, {"prefix": "s3://batch/y/"}]', "item 2 is not the name of an object"),
        (b'[{"prefix": "s3://batch/x/"}]', "No S3 objects found under S3 URL"),
        (None, "there is no object at s3://batch/"),
    ],
)
def test_what_is_no_manifest(batch: Batch, content: bytes | None, words: str) -> None:
    name = f"manifest-{abs(hash(content))}"
    if content is not None:
        batch.s3.put_object(Bucket="batch", Key=f"{name}/manifest", Body=content)
    job = batch.run(name, {}, source={"S3DataType": "ManifestFile", "S3Uri": f"s3://batch/{name}/manifest"}, **CSV)
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert words in job["FailureReason"]


def test_compressed_objects_of_every_kind(batch: Batch) -> None:
    job = batch.run(
        "zipped",
        {"a.csv.gz": zipped(b"1,2\n3,4\n")},
        input=CSV["input"] | {"CompressionType": "Gzip"},
        output=CSV["output"],
    )
    assert job["TransformJobStatus"] == "Completed", job
    assert batch.outputs("zipped") == {"a.csv.gz.out": b"3.0\n7.0\n"}
    job = batch.run("zipped-whole", {"a": zipped(b"abc")}, input={"CompressionType": "Gzip"}, MaxPayloadInMB=0)
    assert job["TransformJobStatus"] == "Completed", job
    assert batch.outputs("zipped-whole") == {"a.out": b"ABC"}


def test_what_the_container_gets(batch: Batch, tmp_path: Path) -> None:
    """One request for a whole object, one for each record, or one for as many records as fit."""
    body = b"a\nb\nc"
    for name, split, strategy, bodies in (
        ("whole", "None", None, [body]),
        ("single", "Line", "SingleRecord", [b"a", b"b", b"c"]),
        ("multi", "Line", "MultiRecord", [body]),
    ):
        log = tmp_path / name
        job = batch.run(
            name,
            {"x": body},
            input={"SplitType": split, "ContentType": "text/x"},
            Environment={"BATCH_LOG": str(log), "OWN_X": "1"},
            **({"BatchStrategy": strategy} if strategy else {}),
        )
        assert job["TransformJobStatus"] == "Completed", job
        requests = logged(log)
        assert [request["body"].encode() for request in requests] == bodies
        assert {(request["path"], request["type"], request["chunked"]) for request in requests} == {
            ("/invocations", "text/x", False)
        }
        assert batch.outputs(name)["x.out"] == b"".join(bodies).upper()
        started = json.loads(log.read_text().splitlines()[0])["started"]
        assert (started["SAGEMAKER_BATCH"], started["OWN_X"]) == ("true", "1")
        wanted = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}.get(strategy or "")
        assert started.get("SAGEMAKER_BATCH_STRATEGY") == wanted
        assert "SAGEMAKER_MAX_PAYLOAD_IN_MB" not in started


def test_binary_records(batch: Batch, tmp_path: Path) -> None:
    record_io = b"".join(struct.pack("<II", 0xCED7230A, len(data)) + data.ljust(4, b"\0") for data in (b"ab", b"cde"))
    tf_record = b"".join(struct.pack("<Q", len(data)) + b"crc1" + data + b"crc2" for data in (b"ab", b"cde"))
    for split, content in (("RecordIO", record_io), ("TFRecord", tf_record)):
        for strategy, bodies in (("SingleRecord", [b"ab", b"cde"]), ("MultiRecord", [content])):
            name = f"{split}-{strategy}"
            log = tmp_path / name
            job = batch.run(
                name,
                {"x": content},
                input={"SplitType": split},
                output={"AssembleWith": "Line"},
                BatchStrategy=strategy,
                Environment={"BATCH_LOG": str(log)},
            )
            assert job["TransformJobStatus"] == "Completed", job
            assert [request["body"].encode("latin-1") for request in logged(log)] == bodies
            assert batch.outputs(name)["x.out"] == b"".join(data.upper() + b"\n" for data in bodies)


def test_the_container_s_execution_parameters_are_heeded_where_the_job_sets_none(batch: Batch, tmp_path: Path) -> None:
    answer = json.dumps({"MaxConcurrentTransforms": 3, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 1})
    log, mark = tmp_path / "asked", tmp_path / "mark"
    environment = {"BATCH_LOG": str(log), "BATCH_PARAMETERS": answer, "BATCH_WAIT": str(mark)}
    batch.model("asked")
    batch.put("asked", {"x": b"a\nb\nc\nd\ne"})
    batch.create("asked", input={"SplitType": "Line"}, Environment=environment)
    # Three at a time: none gets a response before the mark is there.
    wait_for(lambda: log.exists() and len(logged(log)) == 3, "three requests", 60.0)
    mark.touch()
    assert batch.wait("asked")["TransformJobStatus"] == "Completed"
    assert [request["length"] for request in logged(log)] == [1] * 5
    assert max(request["running"] for request in logged(log)) == 3
    assert batch.outputs("asked") == {"x.out": b"ABCDE"}
    log = tmp_path / "told"
    job = batch.run(
        "told",
        {"x": b"a\nb"},
        input={"SplitType": "Line"},
        Environment={"BATCH_LOG": str(log), "BATCH_PARAMETERS": answer},
        BatchStrategy="MultiRecord",
        MaxPayloadInMB=2,
        MaxConcurrentTransforms=1,
    )
    assert job["TransformJobStatus"] == "Completed"
    assert [request["body"] for request in logged(log)] == ["a\nb"]
    started = json.loads(log.read_text().splitlines()[0])["started"]
    names = ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "SAGEMAKER_BATCH_STRATEGY", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS")
    assert [started[name] for name in names] == ["2", "MULTI_RECORD", "1"]


@pytest.mark.parametrize(
    "answer", ["", "no JSON", "[]", '{"MaxConcurrentTransforms": "x", "BatchStrategy": 1, "MaxPayloadInMB": -1}']
)
def test_an_answer_that_makes_no_sense_counts_as_none(batch: Batch, tmp_path: Path, answer: str) -> None:
    name = f"nonsense-{abs(hash(answer))}"
    log = tmp_path / "log"
    environment = {"BATCH_LOG": str(log), "BATCH_PARAMETERS": answer}
    job = batch.run(name, {"x": b"a\nb"}, input={"SplitType": "Line"}, Environment=environment)
    assert job["TransformJobStatus"] == "Completed"
    assert [request["body"] for request in logged(log)] == ["a\nb"]


def test_the_order_of_records_survives_parallel_requests(batch: Batch) -> None:
    lines = [f"{number},0" for number in range(300)]
    job = batch.run(
        "ordered", {"x": "\n".join(lines).encode()}, MaxConcurrentTransforms=8, BatchStrategy="SingleRecord", **CSV
    )
    assert job["TransformJobStatus"] == "Completed"
    assert batch.outputs("ordered")["x.out"].decode().splitlines() == [f"{number}.0" for number in range(300)]


def test_a_large_object_is_sent_in_parts_below_the_limit(batch: Batch, tmp_path: Path) -> None:
    line = b"x" * 99_999
    log = tmp_path / "log"
    job = batch.run(
        "large",
        {"x": b"\n".join([line] * 100)},
        input={"SplitType": "Line"},
        output={"AssembleWith": "Line"},
        MaxPayloadInMB=1,
        MaxConcurrentTransforms=2,
        Environment={"BATCH_LOG": str(log)},
    )
    assert job["TransformJobStatus"] == "Completed"
    lengths = [request["length"] for request in logged(log)]
    assert sum(length + 1 for length in lengths) == 100 * 100_000
    assert MB - 100_000 <= max(lengths) <= MB
    assert batch.outputs("large")["x.out"] == b"".join([line.upper() + b"\n"] * 100)


def test_no_limit_means_one_request_by_chunked_coding(batch: Batch, tmp_path: Path) -> None:
    content = b"abc\n" * 2_000_000  # more than the default limit, and than S3 sends in one part
    log = tmp_path / "log"
    for name, how in (("chunked", {}), ("chunked-lines", {"SplitType": "Line"})):
        job = batch.run(name, {"x": content}, input=how, MaxPayloadInMB=0, Environment={"BATCH_LOG": str(log)})
        assert job["TransformJobStatus"] == "Completed", job
        (request,) = logged(log)
        log.unlink()
        assert (request["chunked"], request["length"]) == (True, len(content))
        assert batch.outputs(name) == {"x.out": content.upper()}


def test_objects_are_spread_over_the_instances(batch: Batch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = batch.run(
        "spread",
        {f"{number}": b"x" for number in range(6)},
        resources={"InstanceCount": 3},
        Environment={"BATCH_LOG": str(log)},
    )
    assert job["TransformJobStatus"] == "Completed"
    requests = logged(log)
    pids = [request["pid"] for request in requests]
    assert sorted(pids.count(pid) for pid in set(pids)) == [2, 2, 2]
    assert len(batch.outputs("spread")) == 6


def test_input_and_predictions_are_joined_and_filtered(batch: Batch) -> None:
    job = batch.run(
        "joined",
        {"a.csv": b"id-1,1,2\nid-2,3,4\n"},
        DataProcessing={"InputFilter": "$[1:]", "OutputFilter": "$[0,-1]", "JoinSource": "Input"},
        **CSV,
    )
    assert job["TransformJobStatus"] == "Completed", job
    assert batch.outputs("joined") == {"a.csv.out": b"id-1,3.0\nid-2,7.0\n"}
    kind = {"ContentType": "application/jsonlines", "SplitType": "Line"}
    job = batch.run(
        "joined-lines",
        {"a": b'{"id": 1, "f": [1]}\n{"id": 2, "f": [2]}\n'},
        input=kind,
        output={"Accept": kind["ContentType"], "AssembleWith": "Line"},
        DataProcessing={"InputFilter": "$.f", "OutputFilter": "$['id','SageMakerOutput']", "JoinSource": "Input"},
    )
    assert job["TransformJobStatus"] == "Completed", job
    assert [json.loads(line) for line in batch.outputs("joined-lines")["a.out"].splitlines()] == [
        {"id": 1, "SageMakerOutput": {"seen": [1]}},
        {"id": 2, "SageMakerOutput": {"seen": [2]}},
    ]


def test_a_pipeline_transforms_too(batch: Batch) -> None:
    batch.model("piped", "first", "second")
    batch.put("piped", {"a": b'{"x": 1}'})
    kind = {"ContentType": "application/json"}
    batch.create("piped", input=kind, output={"Accept": "application/json"})
    assert batch.wait("piped")["TransformJobStatus"] == "Completed"
    # The first container knows no Accept, so that what it responds with is of no type that the second one parses.
    assert batch.outputs("piped") == {"a.out": b'{"SEEN": {"X": 1}}'}


def test_encryption_and_tags(batch: Batch) -> None:
    job = batch.run("secret", {"a": b"x"}, output={"KmsKeyId": "alias/mine"}, Tags=[{"Key": "team", "Value": "red"}])
    assert job["TransformJobStatus"] == "Completed"
    head = batch.s3.head_object(Bucket="batch", Key="secret/out/a.out")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/mine")
    tags = batch.sagemaker.list_tags(ResourceArn=job["TransformJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "red"}]


# Failures


def _run(batch: Batch, name: str, objects: dict[str, bytes], **members: Any) -> str:
    """Run a job that fails, and return the reason."""
    job = batch.run(name, objects, **members)
    assert job["TransformJobStatus"] == "Failed", job
    return str(job["FailureReason"])


def test_an_object_that_fails_has_no_output_and_the_others_have_theirs(batch: Batch) -> None:
    objects = {"good-1": b"a\nb", "half": b"a\nbad\nc", "good-2": b"c"}
    members = {
        "input": {"SplitType": "Line"},
        "BatchStrategy": "SingleRecord",
        "Environment": {"BATCH_FAIL": "400:bad"},
    }
    reason = _run(batch, "halved", objects, **members)
    kind, _, which = reason.partition(" (")
    assert kind == "ClientError: See job logs for more information"
    assert which == "1 of 3 objects failed; s3://batch/halved/in/half: ClientError: 400)"
    assert batch.outputs("halved") == {"good-1.out": b"AB", "good-2.out": b"C"}
    assert (batch.state("halved")["completed"], batch.state("halved")["failed"]) == (2, 1)


@pytest.mark.parametrize(("retries", "sent"), [(None, 4), (0, 1), (2, 3)])
def test_server_errors_are_retried(batch: Batch, tmp_path: Path, retries: int | None, sent: int) -> None:
    name, log = f"retried-{retries}", tmp_path / "log"
    config = {} if retries is None else {"ModelClientConfig": {"InvocationsMaxRetries": retries}}
    reason = _run(batch, name, {"x": b"bad"}, Environment={"BATCH_FAIL": "503:bad", "BATCH_LOG": str(log)}, **config)
    assert reason.startswith("AlgorithmError: See job logs for more information (1 of 1 objects failed; ")
    assert "Bad HTTP status received from algorithm: 503" in reason
    assert len(logged(log)) == sent


def test_a_retry_may_succeed_and_a_client_error_is_not_retried(batch: Batch, tmp_path: Path) -> None:
    job = batch.run("recovered", {"x": b"bad"}, Environment={"BATCH_FAIL": "500:bad", "BATCH_FAIL_TIMES": "3"})
    assert job["TransformJobStatus"] == "Completed"
    assert batch.outputs("recovered") == {"x.out": b"BAD"}
    log = tmp_path / "log"
    _run(batch, "refused", {"x": b"bad"}, Environment={"BATCH_FAIL": "413:bad", "BATCH_LOG": str(log)})
    assert len(logged(log)) == 1


def test_a_response_that_takes_too_long(batch: Batch, tmp_path: Path) -> None:
    reason = _run(
        batch,
        "slow",
        {"x": b"a"},
        Environment={"BATCH_WAIT": str(tmp_path / "never")},
        ModelClientConfig={"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 1},
    )
    assert "Model server did not respond to /invocations request within 1 seconds" in reason


def test_a_container_that_dies_of_one_object_is_there_for_the_next(batch: Batch) -> None:
    reason = _run(
        batch,
        "deadly",
        {"1": b"deadly", "2": b"fine"},
        Environment={"BATCH_EXIT": "deadly"},
        ModelClientConfig={"InvocationsMaxRetries": 1},
    )
    assert "Unable to get response from algorithm" in reason
    assert batch.outputs("deadly") == {"2.out": b"FINE"}


@pytest.mark.parametrize(
    ("name", "objects", "members", "words"),
    [
        ("nothing", {}, {}, 'ClientError: No S3 objects found under S3 URL "s3://batch/nothing/in/"'),
        ("no-bucket", {}, {"source": {"S3Uri": "s3://nowhere/in/"}}, "ClientError: there is no bucket nowhere"),
        (
            "no-output",
            {"x": b"a"},
            {"output": {"S3OutputPath": "s3://nowhere/out"}},
            "ClientError: there is no bucket nowhere for s3://nowhere/out; create it",
        ),
        (
            "no-start",
            {"x": b"a"},
            {"Environment": {"BATCH_START_EXIT": "3"}},
            "AlgorithmError: Model container failed to respond to ping. Please ensure /ping endpoint is implemented and"
            " responds with an HTTP 200 status code (the container ended with status 3: batch container started\nit"
            " cannot go on)",
        ),
        (
            "too-large",
            {"x": b"a" * (MB + 1)},
            {"MaxPayloadInMB": 1},
            "Too much data for max payload size: the object has 1048577 bytes or more, MaxPayloadInMB allows 1048576",
        ),
        (
            "long-line",
            {"x": b"a\n" + b"b" * (MB + 1)},
            {"MaxPayloadInMB": 1, "input": {"SplitType": "Line"}},
            "Too much data for max payload size: line 2 has ",
        ),
        ("no-gzip", {"x": b"a"}, {"input": {"CompressionType": "Gzip"}}, "the object is not complete gzip"),
        (
            "bad-path",
            {"x": b"1"},
            CSV | {"DataProcessing": {"InputFilter": "$[0:2,4:]"}},
            "ClientError: Invalid JsonPath: $[0:2,4:]: ",
        ),
        (
            "outside",
            {"x": b"1"},
            CSV | {"DataProcessing": {"OutputFilter": "$[7]", "JoinSource": "Input"}},
            "Invalid JsonPath: $[7]: a record has nothing there",
        ),
        (
            "wrong-type",
            {"x": b"1"},
            CSV | {"DataProcessing": {"JoinSource": "Input"}, "Environment": {"BATCH_TYPE": "application/json"}},
            "the model responded with application/json where Accept is text/csv",
        ),
    ],
)
def test_reasons(batch: Batch, name: str, objects: dict[str, bytes], members: dict[str, Any], words: str) -> None:
    assert words in _run(batch, name, objects, **members)
    assert batch.outputs(name) == {}


def test_a_model_without_its_data(batch: Batch) -> None:
    batch.model("dataless", ModelDataUrl="s3://batch/none/model.tar.gz")
    batch.put("dataless", {"x": b"a"})
    batch.create("dataless")
    reason = batch.wait("dataless")["FailureReason"]
    assert reason.startswith(
        'ClientError: Failed to download model data for container "container_1" from URL: "s3://batch/'
    )


def test_an_object_that_a_manifest_names_and_that_does_not_exist(batch: Batch) -> None:
    manifest = json.dumps([{"prefix": "s3://batch/gone/in/"}, "a.csv", "gone.csv"]).encode()
    batch.s3.put_object(Bucket="batch", Key="gone/manifest", Body=manifest)
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://batch/gone/manifest"}
    reason = _run(batch, "gone", {"a.csv": b"1"}, source=source, **CSV)
    assert (
        "1 of 2 objects failed; s3://batch/gone/in/gone.csv: there is no object at s3://batch/gone/in/gone.csv"
        in reason
    )
    assert batch.outputs("gone") == {"a.csv.out": b"1.0\n"}


# Stopping


def test_a_stopped_job_leaves_its_complete_outputs_and_no_container(batch: Batch, tmp_path: Path) -> None:
    log, mark = tmp_path / "log", tmp_path / "never"
    batch.model("stopped")
    batch.put("stopped", {"1": b"a"})
    batch.create("stopped", Environment={"BATCH_LOG": str(log), "BATCH_WAIT": str(mark)})
    wait_for(lambda: log.exists() and logged(log), "a request", 60.0)
    (pid,) = {request["pid"] for request in logged(log)}
    batch.sagemaker.stop_transform_job(TransformJobName="stopped")
    job = batch.wait("stopped")
    assert job["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in job
    assert job["TransformEndTime"] >= job["TransformStartTime"]
    assert not Path(f"/proc/{pid}").exists()
    assert batch.outputs("stopped") == {}
    assert batch.state("stopped")["instances"] == []


def test_outputs_that_were_complete_before_a_stop_stay(batch: Batch, tmp_path: Path) -> None:
    batch.model("halfway")
    batch.put("halfway", {"1": b"a", "2": b"b"})
    batch.create("halfway", Environment={"BATCH_WAIT": str(tmp_path / "never"), "BATCH_WAITS": "b"})
    wait_for(lambda: "1.out" in batch.outputs("halfway"), "the first output", 60.0)
    batch.sagemaker.stop_transform_job(TransformJobName="halfway")
    assert batch.wait("halfway")["TransformJobStatus"] == "Stopped"
    assert batch.outputs("halfway") == {"1.out": b"A"}


def test_a_job_can_be_stopped_at_once(batch: Batch) -> None:
    batch.model("at-once")
    batch.put("at-once", {"1": b"a"})
    batch.create("at-once")
    batch.sagemaker.stop_transform_job(TransformJobName="at-once")
    job = batch.wait("at-once")
    assert job["TransformJobStatus"] == "Stopped"


# What is seen of a job


def test_logs_metrics_and_events(batch: Batch) -> None:
    log_client, cloudwatch = (batch.emulator.client(service, REGION) for service in ("logs", "cloudwatch"))
    _run(batch, "seen", {"x": b"bad"}, Environment={"BATCH_FAIL": "400:bad"})
    group = "/aws/sagemaker/TransformJobs"

    def streams() -> list[str]:
        found = log_client.describe_log_streams(logGroupName=group, logStreamNamePrefix="seen/")["logStreams"]
        return [stream["logStreamName"] for stream in found]

    def messages(stream: str) -> list[str]:
        found = log_client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in found]

    wait_for(lambda: len(streams()) == 2, "the streams", 60.0)
    own, data_log = sorted(streams())
    assert own.startswith("seen/i-")
    assert data_log == f"{own}/data-log"
    assert wait_for(lambda: messages(own), "the container's output", 60.0)[0] == "batch container started"
    lines = wait_for(lambda: len(messages(data_log)) == 6 and messages(data_log), "the data log", 60.0)
    assert [line.partition(":[sagemaker logs]: ")[2] for line in lines] == [
        "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD",
        "batch/seen/in/x: ClientError: 400",
        "batch/seen/in/x: ",
        "batch/seen/in/x: Message:",
        "batch/seen/in/x: a bad record",
        "batch/seen/in/x: of many",
    ]

    def metrics() -> set[tuple[str, str]]:
        found = cloudwatch.list_metrics(Namespace="/aws/sagemaker/TransformJobs")["Metrics"]
        return {(item["MetricName"], item["Dimensions"][0]["Value"]) for item in found}

    def memory_of_job() -> bool:
        return any(name == "MemoryUtilization" and host.startswith("measured/i-") for name, host in metrics())

    batch.model("measured")
    batch.put("measured", {"x": b"a"})
    batch.create("measured", Environment={"BATCH_WAIT": "/nonexistent"})
    wait_for(memory_of_job, "the instance's memory", 60.0)
    assert batch.state("measured")["instances"][0]["memory_used"] > 0
    batch.sagemaker.stop_transform_job(TransformJobName="measured")
    batch.wait("measured")


def test_faults_on_demand_reach_a_job(batch: Batch) -> None:
    url = f"{batch.emulator.url}/_polyhost/faults"
    kinds: tuple[tuple[str, dict[str, str], str], ...] = (
        ("time-out", {}, "Model server did not respond to /invocations request within 600 seconds"),
        ("error", {"code": "InternalFailure"}, "InternalFailure: a fault on demand"),
    )
    for kind, details, words in kinds:
        for count, status in ((4, "Failed"), (3, "Completed")):  # a request is sent four times
            name = f"faulty-{kind}-{count}"
            fault = {"kind": kind, "endpoint": name, "count": count} | details
            httpx.post(url, json=fault, trust_env=False).raise_for_status()
            job = batch.run(name, {"x": b"a"})
            assert job["TransformJobStatus"] == status, job
            assert words in job.get("FailureReason", words)
    assert httpx.get(url, trust_env=False).json() == []


def test_a_job_survives_a_container_that_is_killed_on_demand(batch: Batch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fault = {"kind": "kill-container", "endpoint": "killed", "skip": 1}
    url = f"{batch.emulator.url}/_polyhost/faults"
    httpx.post(url, json=fault, trust_env=False).raise_for_status()
    job = batch.run("killed", {"1": b"a", "2": b"b"}, Environment={"BATCH_LOG": str(log)})
    assert job["TransformJobStatus"] == "Completed", job
    assert batch.outputs("killed") == {"1.out": b"A", "2.out": b"B"}
    assert len({request["pid"] for request in logged(log)}) == 2
