"""Types of resources: made, found by its service's own API, changed in place, and deleted."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.cloudformation.harness import StackClient, resource
from tests.emulator.conftest import REGION

ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "a.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
PUBLIC = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}],
}


def _client(stacks: StackClient, service: str) -> Any:
    return stacks.local.emulator.client(service, REGION)


def test_scaling(stacks: StackClient) -> None:
    stacks.local.upload(stacks.prefix, "one")
    scaling = _client(stacks, "application-autoscaling")
    key = f"endpoint/{stacks.prefix}/variant/AllTraffic"

    def resources(most: int, target: float, actions: list[dict[str, Any]]) -> dict[str, Any]:
        tracking = {
            "TargetValue": target,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance",
            },
        }
        return stacks.endpoint() | {
            "Target": resource(
                "AWS::ApplicationAutoScaling::ScalableTarget",
                ServiceNamespace="sagemaker",
                ScalableDimension="sagemaker:variant:DesiredInstanceCount",
                ResourceId={"Fn::Sub": "endpoint/${Endpoint.EndpointName}/variant/AllTraffic"},
                MinCapacity="1",
                MaxCapacity=most,
                ScheduledActions=actions,
            ),
            "Policy": resource(
                "AWS::ApplicationAutoScaling::ScalingPolicy",
                PolicyType="TargetTrackingScaling",
                ScalingTargetId={"Ref": "Target"},
                TargetTrackingScalingPolicyConfiguration=tracking,
            ),
        }

    night = {
        "ScheduledActionName": "night",
        "Schedule": "cron(0 22 * * ? *)",
        "ScalableTargetAction": {"MaxCapacity": 1},
    }
    stack = stacks.create(resources(3, 70, [night]))
    assert stacks.resources(stack)["Target"] == f"{key}|sagemaker:variant:DesiredInstanceCount|sagemaker"
    stacks.update(stack, resources(4, 50, []))
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[key])["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=key)["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 50.0
    actions = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker", ResourceId=key)["ScheduledActions"]
    assert actions == []
    stacks.delete(stack)
    found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[key])["ScalableTargets"]
    assert found == [] and stacks.left() == []


def test_alarms_dashboards_and_logs(stacks: StackClient) -> None:
    def resources(threshold: str, days: int) -> dict[str, Any]:
        return {
            "Errors": resource(
                "AWS::CloudWatch::Alarm",
                Namespace="None",
                MetricName="None",
                Statistic="Sum",
                Period=60,
                EvaluationPeriods="1",
                Threshold=threshold,
                ComparisonOperator="GreaterThanThreshold",
                TreatMissingData="notBreaching",
            ),
            "Any": resource("AWS::CloudWatch::CompositeAlarm", AlarmRule={"Fn::Sub": 'ALARM("${Errors}")'}),
            "Page": resource("AWS::CloudWatch::Dashboard", DashboardBody={"Fn::Sub": json.dumps({"widgets": []})}),
            "Group": resource("AWS::Logs::LogGroup", LogGroupName=f"/{stacks.prefix}", RetentionInDays=days),
        }

    cloudwatch, logs = _client(stacks, "cloudwatch"), _client(stacks, "logs")
    stack = stacks.create(resources("1", 7), Outputs={"Arn": {"Value": {"Fn::GetAtt": "Errors.Arn"}}})
    names = stacks.resources(stack)
    assert stacks.outputs(stack)["Arn"].endswith(f":alarm:{names['Errors']}")
    stacks.update(stack, resources("2.5", 14))
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[names["Errors"]])["MetricAlarms"]
    assert alarm["Threshold"] == 2.5
    (composite,) = cloudwatch.describe_alarms(AlarmNames=[names["Any"]], AlarmTypes=["CompositeAlarm"])[
        "CompositeAlarms"
    ]
    assert composite["AlarmRule"] == f'ALARM("{names["Errors"]}")'
    assert json.loads(cloudwatch.get_dashboard(DashboardName=names["Page"])["DashboardBody"]) == {"widgets": []}
    (group,) = logs.describe_log_groups(logGroupNamePrefix=f"/{stacks.prefix}")["logGroups"]
    assert group["retentionInDays"] == 14
    stacks.delete(stack)
    assert cloudwatch.describe_alarms(AlarmNamePrefix=stacks.prefix)["MetricAlarms"] == []
    assert logs.describe_log_groups(logGroupNamePrefix=f"/{stacks.prefix}")["logGroups"] == []
    assert cloudwatch.list_dashboards(DashboardNamePrefix=stacks.prefix)["DashboardEntries"] == []


def test_topics_and_queues(stacks: StackClient) -> None:
    def resources(shown: str, subscribed: bool) -> dict[str, Any]:
        subscription = {"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": "Queue.Arn"}}
        return {
            "Queue": resource("AWS::SQS::Queue", VisibilityTimeout="5"),
            "Topic": resource("AWS::SNS::Topic", DisplayName=shown, Subscription=[subscription] if subscribed else []),
            "Other": resource("AWS::SNS::Topic"),
            "Filtered": resource(
                "AWS::SNS::Subscription",
                TopicArn={"Ref": "Other"},
                **subscription,
                RawMessageDelivery=True,
                FilterPolicy={"kind": ["a"]},
            ),
            "Policy": resource("AWS::SNS::TopicPolicy", Topics=[{"Ref": "Topic"}], PolicyDocument=PUBLIC),
        }

    sns = _client(stacks, "sns")
    stack = stacks.create(resources("one", True))
    ids = stacks.resources(stack)
    assert len(sns.list_subscriptions_by_topic(TopicArn=ids["Topic"])["Subscriptions"]) == 1
    attributes = sns.get_subscription_attributes(SubscriptionArn=ids["Filtered"])["Attributes"]
    assert attributes["RawMessageDelivery"] == "true" and json.loads(attributes["FilterPolicy"]) == {"kind": ["a"]}
    assert json.loads(sns.get_topic_attributes(TopicArn=ids["Topic"])["Attributes"]["Policy"]) == PUBLIC
    stacks.update(stack, resources("two", False))
    assert sns.get_topic_attributes(TopicArn=ids["Topic"])["Attributes"]["DisplayName"] == "two"
    assert sns.list_subscriptions_by_topic(TopicArn=ids["Topic"])["Subscriptions"] == []
    stacks.delete(stack)
    with pytest.raises(ClientError):
        sns.get_topic_attributes(TopicArn=ids["Topic"])


def test_roles_and_policies(stacks: StackClient) -> None:
    def resources(actions: list[str], inline: str) -> dict[str, Any]:
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        return {
            "Role": resource(
                "AWS::IAM::Role",
                AssumeRolePolicyDocument=TRUST,
                ManagedPolicyArns=[{"Ref": "Managed"}],
                Policies=[{"PolicyName": inline, "PolicyDocument": ALLOW}],
            ),
            "Managed": resource("AWS::IAM::ManagedPolicy", PolicyDocument=document),
            "Inline": resource(
                "AWS::IAM::Policy", PolicyName="separate", PolicyDocument=document, Roles=[{"Ref": "Role"}]
            ),
        }

    iam = _client(stacks, "iam")
    template = json.dumps({"Resources": resources(["s3:GetObject"], "a")})
    message = stacks.error("create_stack", StackName=stacks.prefix, TemplateBody=template)
    assert message == "Requires capabilities : [CAPABILITY_IAM]"
    stack = stacks.create(resources(["s3:GetObject"], "a"))
    stacks.update(stack, resources(["s3:PutObject"], "b"))
    ids = stacks.resources(stack)
    assert sorted(iam.list_role_policies(RoleName=ids["Role"])["PolicyNames"]) == ["b", "separate"]
    document = iam.get_role_policy(RoleName=ids["Role"], PolicyName="separate")["PolicyDocument"]
    assert document["Statement"][0]["Action"] == ["s3:PutObject"]
    (attached,) = iam.list_attached_role_policies(RoleName=ids["Role"])["AttachedPolicies"]
    assert attached["PolicyArn"] == ids["Managed"]
    (version,) = iam.list_policy_versions(PolicyArn=ids["Managed"])["Versions"]
    found = iam.get_policy_version(PolicyArn=ids["Managed"], VersionId=version["VersionId"])["PolicyVersion"]
    assert found["Document"]["Statement"][0]["Action"] == ["s3:PutObject"]
    stacks.delete(stack)
    for call, members in ((iam.get_role, {"RoleName": ids["Role"]}), (iam.get_policy, {"PolicyArn": ids["Managed"]})):
        with pytest.raises(ClientError):
            call(**members)


def test_what_is_left_of_a_role_is_deleted(stacks: StackClient) -> None:
    role = resource("AWS::IAM::Role", RoleName=stacks.prefix, AssumeRolePolicyDocument=TRUST)
    role["Properties"]["ManagedPolicyArns"] = ["arn:aws:iam::123456789012:policy/none"]
    stack = stacks.create({"Role": role}, ok=False)
    assert stacks.describe(stack)["StackStatus"] == "ROLLBACK_COMPLETE"
    with pytest.raises(ClientError):
        _client(stacks, "iam").get_role(RoleName=stacks.prefix)


def test_a_role_that_is_not_the_stack_s_stays(stacks: StackClient) -> None:
    iam = _client(stacks, "iam")
    iam.create_role(RoleName=stacks.prefix, AssumeRolePolicyDocument=json.dumps(TRUST))
    stacks.create(
        {"Role": resource("AWS::IAM::Role", RoleName=stacks.prefix, AssumeRolePolicyDocument=TRUST)}, ok=False
    )
    assert iam.get_role(RoleName=stacks.prefix)["Role"]["RoleName"] == stacks.prefix
    iam.delete_role(RoleName=stacks.prefix)


def test_buckets_and_keys(stacks: StackClient) -> None:
    def resources(status: str) -> dict[str, Any]:
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Fn::GetAtt": "Key.Arn"}}
        encryption = {"ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": default}]}
        rule = {"Id": "old", "Status": "Enabled", "ExpirationInDays": "30"}
        policy = json.loads(json.dumps(ALLOW))
        policy["Statement"][0] |= {"Principal": "*", "Resource": {"Fn::Sub": "${Bucket.Arn}/*"}}
        return {
            "Key": resource("AWS::KMS::Key", Description=status, EnableKeyRotation="true"),
            "Alias": resource("AWS::KMS::Alias", AliasName=f"alias/{stacks.prefix}", TargetKeyId={"Ref": "Key"}),
            "Bucket": resource(
                "AWS::S3::Bucket",
                BucketEncryption=encryption,
                VersioningConfiguration={"Status": status},
                LifecycleConfiguration={"Rules": [rule]},
                PublicAccessBlockConfiguration={"BlockPublicAcls": "true"},
            ),
            "Policy": resource("AWS::S3::BucketPolicy", Bucket={"Ref": "Bucket"}, PolicyDocument=policy),
        }

    s3, kms = stacks.local.s3, _client(stacks, "kms")
    stack = stacks.create(resources("Enabled"))
    ids = stacks.resources(stack)
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=ids["Bucket"])["Rules"]
    assert (rule["ID"], rule["Expiration"]["Days"]) == ("old", 30)
    (encryption,) = s3.get_bucket_encryption(Bucket=ids["Bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"].endswith(ids["Key"])
    assert f"arn:aws:s3:::{ids['Bucket']}/*" in s3.get_bucket_policy(Bucket=ids["Bucket"])["Policy"]
    assert kms.get_key_rotation_status(KeyId=ids["Key"])["KeyRotationEnabled"]
    stacks.update(stack, resources("Suspended"))
    assert s3.get_bucket_versioning(Bucket=ids["Bucket"])["Status"] == "Suspended"
    assert kms.describe_key(KeyId=ids["Key"])["KeyMetadata"]["Description"] == "Suspended"
    stacks.delete(stack)
    assert kms.describe_key(KeyId=ids["Key"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket=ids["Bucket"])
