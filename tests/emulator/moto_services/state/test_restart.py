"""What clients stored is there after SIGKILL and a start with the same --state, with the same identifiers."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.emulator.archives import archive
from tests.emulator.conftest import REGION, ROLE
from tests.emulator.moto_services.state.conftest import Durable, content_of, durable

pytestmark = pytest.mark.slow
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
ALLOW = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
PART = os.urandom(5 << 20)


@dataclass
class Restarted:
    """A second emulator, and what the first one answered to each test's preparation."""

    emulator: Durable
    answers: dict[str, Any] = field(default_factory=dict)


def _objects(emulator: Durable) -> Any:
    s3 = emulator.client("s3")
    emulator.bucket("plain")
    s3.put_object(
        Bucket="plain",
        Key="a/한국어 +1.json",
        Body=b"first",
        ContentType="application/json",
        ContentEncoding="identity",
        CacheControl="no-store",
        Metadata={"purpose": "test"},
        Tagging="team=ml&stage=dev",
    )
    s3.put_object(Bucket="plain", Key="tagged-later", Body=b"x")
    s3.put_object_tagging(Bucket="plain", Key="tagged-later", Tagging={"TagSet": [{"Key": "late", "Value": "yes"}]})
    s3.put_object(Bucket="plain", Key="large", Body=PART + PART)
    s3.put_object(Bucket="plain", Key="empty", Body=b"")
    s3.put_object(Bucket="plain", Key="overwritten", Body=b"old")
    s3.put_object(Bucket="plain", Key="overwritten", Body=b"new")
    s3.copy_object(Bucket="plain", Key="copy", CopySource="plain/overwritten")
    for name in ("deleted", "deleted-with-others"):
        s3.put_object(Bucket="plain", Key=name, Body=b"x")
    s3.delete_object(Bucket="plain", Key="deleted")
    s3.delete_objects(Bucket="plain", Delete={"Objects": [{"Key": "deleted-with-others"}]})
    return {
        "heads": {
            key: _head(s3, "plain", key) for key in ("a/한국어 +1.json", "large", "empty", "overwritten", "copy")
        },
        "list": s3.list_objects_v2(Bucket="plain")["Contents"],
    }


def _multipart(emulator: Durable) -> Any:
    s3 = emulator.client("s3")
    emulator.bucket("uploads")
    key = {"Bucket": "uploads", "Key": "whole"}
    upload = s3.create_multipart_upload(**key, Metadata={"by": "parts"}, ContentType="text/csv")["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**key, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in ((1, PART), (2, b"the end"))
    ]
    done = s3.complete_multipart_upload(**key, UploadId=upload, MultipartUpload={"Parts": parts})
    unfinished = s3.create_multipart_upload(Bucket="uploads", Key="unfinished")["UploadId"]
    s3.upload_part(Bucket="uploads", Key="unfinished", UploadId=unfinished, PartNumber=1, Body=PART)
    head, part = _head(s3, "uploads", "whole"), _head(s3, "uploads", "whole", PartNumber=2)
    return {"etag": done["ETag"], "head": head, "part": part, "unfinished": unfinished}


def _versions(emulator: Durable) -> Any:
    s3 = emulator.client("s3")
    emulator.bucket("versions")
    s3.put_object(Bucket="versions", Key="k", Body=b"before versioning")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket="versions", Key="k", Body=b"version %d" % n)["VersionId"] for n in range(3)]
    s3.delete_object(Bucket="versions", Key="k", VersionId=ids[1])
    s3.put_object(Bucket="versions", Key="gone", Body=b"x")
    s3.delete_object(Bucket="versions", Key="gone")
    return {"ids": ids, "list": _version_list(s3)}


def _bucket_settings(emulator: Durable) -> Any:
    s3 = emulator.client("s3")
    emulator.bucket("settings")
    emulator.bucket("removed")
    s3.delete_bucket(Bucket="removed")
    s3.put_bucket_tagging(Bucket="settings", Tagging={"TagSet": [{"Key": "cost", "Value": "none"}]})
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket="settings", LifecycleConfiguration={"Rules": [rule]})
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*"}]}
    s3.put_bucket_policy(Bucket="settings", Policy=json.dumps(policy))
    return _settings(s3)


def _queues(emulator: Durable) -> Any:
    sqs = emulator.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
    work = sqs.create_queue(QueueName="work", Attributes={"RedrivePolicy": redrive, "VisibilityTimeout": "600"})
    url = work["QueueUrl"]
    sent = [
        sqs.send_message(
            QueueUrl=url,
            MessageBody=f"message {n}",
            MessageAttributes={"n": {"DataType": "Number", "StringValue": str(n)}},
        )["MessageId"]
        for n in range(5)
    ]
    taken = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=taken[0]["ReceiptHandle"])
    fifo = sqs.create_queue(QueueName="in-order.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    for n in range(5):
        sqs.send_message(QueueUrl=fifo, MessageBody=str(n), MessageGroupId="g", MessageDeduplicationId=str(n))
    gone = sqs.create_queue(QueueName="gone")["QueueUrl"]
    sqs.send_message(QueueUrl=gone, MessageBody="x")
    sqs.delete_queue(QueueUrl=gone)
    return {"sent": sent, "handle": taken[1]["ReceiptHandle"], "path": url.split("/", 3)[3]}


def _topics(emulator: Durable) -> Any:
    sns, sqs = emulator.client("sns"), emulator.client("sqs")
    topic = sns.create_topic(Name="done", Tags=[{"Key": "a", "Value": "b"}])["TopicArn"]
    queue = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps({"kind": ["wanted"]})},
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    sns.publish(TopicArn=topic, Message="before", MessageAttributes=_kind("wanted"))
    removed = sns.create_topic(Name="removed")["TopicArn"]
    sns.delete_topic(TopicArn=removed)
    return {"topic": topic, "subscription": subscription}


def _roles(emulator: Durable) -> Any:
    iam = emulator.client("iam")
    role = iam.create_role(RoleName="hosting", AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "a", "Value": "b"}])
    policy = iam.create_policy(PolicyName="read", PolicyDocument=ALLOW)["Policy"]
    iam.attach_role_policy(RoleName="hosting", PolicyArn=policy["Arn"])
    iam.put_role_policy(RoleName="hosting", PolicyName="inline", PolicyDocument=ALLOW)
    iam.create_role(RoleName="removed", AssumeRolePolicyDocument=TRUST)
    iam.delete_role(RoleName="removed")
    return role["Role"] | {"policy": policy["Arn"]}


def _made_by_other_services(emulator: Durable) -> Any:
    template = {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "from-a-stack"}},
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "from-a-stack"}},
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "from-a-stack"}},
        }
    }
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(StackName="stack", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="stack")
    emulator.bucket("tagged-elsewhere")
    emulator.client("resourcegroupstaggingapi").tag_resources(
        ResourceARNList=["arn:aws:s3:::tagged-elsewhere"], Tags={"owner": "me"}
    )
    return None


def _endpoint(emulator: Durable) -> Any:
    s3, sagemaker = emulator.client("s3"), emulator.client("sagemaker")
    emulator.bucket("models")
    s3.put_object(Bucket="models", Key="many/one.tar.gz", Body=archive("one"))
    container = {"Image": "small", "Mode": "MultiModel", "ModelDataUrl": "s3://models/many/"}
    sagemaker.create_model(ModelName="many", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": "many", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName="many", ProductionVariants=[variant | {"InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName="many", EndpointConfigName="many")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="many")
    return _invoke(emulator)


PREPARATIONS = {
    "objects": _objects,
    "multipart": _multipart,
    "versions": _versions,
    "bucket settings": _bucket_settings,
    "queues": _queues,
    "topics": _topics,
    "roles": _roles,
    "other services": _made_by_other_services,
    "endpoint": _endpoint,
}


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    state = tmp_path_factory.mktemp("killed") / "state"
    with durable(state) as first:
        answers = {name: prepare(first) for name, prepare in PREPARATIONS.items()}
        first.kill()
    with durable(state) as second:
        yield Restarted(second, answers)


def test_objects_keep_their_bytes_and_all_that_describes_them(restarted: Restarted) -> None:
    s3, before = restarted.emulator.client("s3"), restarted.answers["objects"]
    assert s3.list_objects_v2(Bucket="plain")["Contents"] == before["list"]
    assert {key: _head(s3, "plain", key) for key in before["heads"]} == before["heads"]
    assert content_of(s3, "plain", "a/한국어 +1.json") == b"first"
    assert content_of(s3, "plain", "large") == PART + PART
    assert content_of(s3, "plain", "large", Range=f"bytes={len(PART)}-{len(PART) + 9}") == PART[:10]
    assert content_of(s3, "plain", "empty") == b""
    assert content_of(s3, "plain", "overwritten") == content_of(s3, "plain", "copy") == b"new"


def test_tags_of_objects_are_kept(restarted: Restarted) -> None:
    s3 = restarted.emulator.client("s3")
    tags = s3.get_object_tagging(Bucket="plain", Key="a/한국어 +1.json")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "ml", "stage": "dev"}
    later = s3.get_object_tagging(Bucket="plain", Key="tagged-later")["TagSet"]
    assert later == [{"Key": "late", "Value": "yes"}]


def test_a_completed_multipart_upload_is_kept_and_an_unfinished_one_is_not(restarted: Restarted) -> None:
    s3, before = restarted.emulator.client("s3"), restarted.answers["multipart"]
    assert _head(s3, "uploads", "whole") == before["head"]
    assert before["head"]["ETag"] == before["etag"]
    assert content_of(s3, "uploads", "whole") == PART + b"the end"
    assert _head(s3, "uploads", "whole", PartNumber=2) == before["part"]
    assert before["part"]["ContentLength"] == len(b"the end")
    with pytest.raises(s3.exceptions.NoSuchUpload):
        s3.list_parts(Bucket="uploads", Key="unfinished", UploadId=before["unfinished"])


def test_versions_and_delete_markers_keep_their_ids_and_order(restarted: Restarted) -> None:
    s3, before = restarted.emulator.client("s3"), restarted.answers["versions"]
    assert _version_list(s3) == before["list"]
    first, _, last = before["ids"]
    assert content_of(s3, "versions", "k", VersionId="null") == b"before versioning"
    assert content_of(s3, "versions", "k", VersionId=first) == b"version 0"
    assert content_of(s3, "versions", "k") == content_of(s3, "versions", "k", VersionId=last) == b"version 2"
    with pytest.raises(s3.exceptions.NoSuchKey):
        content_of(s3, "versions", "gone")
    assert s3.put_object(Bucket="versions", Key="k", Body=b"y")["VersionId"] not in before["ids"]


def test_a_bucket_keeps_its_settings(restarted: Restarted) -> None:
    s3 = restarted.emulator.client("s3")
    assert _settings(s3) == restarted.answers["bucket settings"]
    assert "removed" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def test_a_queue_keeps_its_messages_and_what_is_being_worked_on(restarted: Restarted) -> None:
    sqs, before = restarted.emulator.client("sqs"), restarted.answers["queues"]
    url = sqs.get_queue_url(QueueName="work")["QueueUrl"]
    assert url.split("/", 3)[3] == before["path"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=before["handle"])  # received before the kill
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])["Messages"]
    assert [message["MessageId"] for message in messages] == before["sent"][2:]
    assert messages[0]["Body"] == "message 2"
    assert messages[0]["MessageAttributes"]["n"] == {"DataType": "Number", "StringValue": "2"}
    # One receipt more than allowed: to the dead letter queue.
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=messages[0]["ReceiptHandle"], VisibilityTimeout=0)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    (dead,) = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName="dead")["QueueUrl"])["Messages"]
    assert dead["Body"] == "message 2"
    fifo = sqs.get_queue_url(QueueName="in-order.fifo")["QueueUrl"]
    ordered = sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=5)["Messages"]
    assert [message["Body"] for message in ordered] == ["0", "1", "2", "3", "4"]
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="gone")


def test_a_subscriber_receives_what_is_published_after_the_restart(restarted: Restarted) -> None:
    sns, sqs, before = restarted.emulator.client("sns"), restarted.emulator.client("sqs"), restarted.answers["topics"]
    assert [topic["TopicArn"] for topic in sns.list_topics()["Topics"] if "stack" not in topic["TopicArn"]] == [
        before["topic"]
    ]
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=before["topic"])["Subscriptions"]
    assert subscription["SubscriptionArn"] == before["subscription"]
    sns.publish(TopicArn=before["topic"], Message="after", MessageAttributes=_kind("wanted"))
    sns.publish(TopicArn=before["topic"], Message="filtered", MessageAttributes=_kind("other"))
    queue = sqs.get_queue_url(QueueName="subscriber")["QueueUrl"]
    received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in received] == ["before", "after"]


def test_a_role_keeps_its_arn_and_policies(restarted: Restarted) -> None:
    iam, before = restarted.emulator.client("iam"), restarted.answers["roles"]
    role = iam.get_role(RoleName="hosting")["Role"]
    assert {name: role[name] for name in ("Arn", "RoleId", "CreateDate", "Tags")} == {
        name: before[name] for name in ("Arn", "RoleId", "CreateDate", "Tags")
    }
    (attached,) = iam.list_attached_role_policies(RoleName="hosting")["AttachedPolicies"]
    assert attached["PolicyArn"] == before["policy"]
    assert iam.get_policy(PolicyArn=before["policy"])["Policy"]["AttachmentCount"] == 1
    assert iam.list_role_policies(RoleName="hosting")["PolicyNames"] == ["inline"]
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="removed")


def test_what_other_services_made_or_changed_is_kept_too(restarted: Restarted) -> None:
    client = restarted.emulator.client
    client("s3").head_bucket(Bucket="from-a-stack")
    client("sqs").get_queue_url(QueueName="from-a-stack")
    assert any(topic["TopicArn"].endswith(":from-a-stack") for topic in client("sns").list_topics()["Topics"])
    tags = client("s3").get_bucket_tagging(Bucket="tagged-elsewhere")["TagSet"]
    assert tags == [{"Key": "owner", "Value": "me"}]


def test_an_endpoint_finds_its_models(restarted: Restarted) -> None:
    restarted.emulator.client("sagemaker").get_waiter("endpoint_in_service").wait(EndpointName="many")
    assert _invoke(restarted.emulator) == restarted.answers["endpoint"]
    assert REGION in restarted.emulator.client("sagemaker").describe_endpoint(EndpointName="many")["EndpointArn"]


def _head(s3: Any, bucket: str, key: str, **members: Any) -> dict[str, Any]:
    head: dict[str, Any] = s3.head_object(Bucket=bucket, Key=key, **members)
    del head["ResponseMetadata"]
    return head


def _version_list(s3: Any) -> Any:
    listed = s3.list_object_versions(Bucket="versions")
    return listed["Versions"], listed["DeleteMarkers"]


def _settings(s3: Any) -> Any:
    responses = [
        s3.get_bucket_tagging(Bucket="settings"),
        s3.get_bucket_lifecycle_configuration(Bucket="settings"),
        s3.get_bucket_policy(Bucket="settings"),
        s3.get_bucket_location(Bucket="settings"),
    ]
    return [{name: value for name, value in item.items() if name != "ResponseMetadata"} for item in responses]


def _kind(value: str) -> dict[str, Any]:
    return {"kind": {"DataType": "String", "StringValue": value}}


def _invoke(emulator: Durable) -> str:
    runtime = emulator.client("sagemaker-runtime")
    response = runtime.invoke_endpoint(EndpointName="many", TargetModel="one.tar.gz", Body=b"?")
    return str(json.loads(response["Body"].read())["name"])
