"""AWS::CloudWatch: alarms, composite alarms and dashboards; AWS::Logs: groups."""

from typing import ClassVar

from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, Properties, ResourceType, made


class _AlarmType(ResourceType):
    """Put by one operation, which changes an alarm that exists."""

    name_property = "AlarmName"
    max_name_length = 255
    replaced_by = frozenset(("AlarmName",))
    put: ClassVar[str]

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Put the alarm, and look up its ARN."""
        name = properties["AlarmName"]
        aws.call("cloudwatch", self.put, properties)
        names = {"AlarmNames": [name], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
        found = aws.call("cloudwatch", "DescribeAlarms", names)
        arn = [*found.get("MetricAlarms", []), *found.get("CompositeAlarms", [])][0]["AlarmArn"]
        return Physical(name, {"Arn": arn}, name)

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Put the alarm again."""
        return self.create(aws, properties)

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteAlarms."""
        aws.discard("cloudwatch", "DeleteAlarms", {"AlarmNames": [physical.name]})


class AlarmType(_AlarmType):
    type_name = "AWS::CloudWatch::Alarm"
    put = "PutMetricAlarm"
    required = ("ComparisonOperator", "EvaluationPeriods")


class CompositeAlarmType(_AlarmType):
    type_name = "AWS::CloudWatch::CompositeAlarm"
    put = "PutCompositeAlarm"
    required = ("AlarmRule",)


class DashboardType(ResourceType):
    type_name = "AWS::CloudWatch::Dashboard"
    name_property = "DashboardName"
    max_name_length = 255
    required = ("DashboardBody",)
    replaced_by = frozenset(("DashboardName",))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call PutDashboard."""
        aws.call("cloudwatch", "PutDashboard", properties)
        return Physical(properties["DashboardName"], {}, properties["DashboardName"])

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Put the dashboard again."""
        return self.create(aws, properties)

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteDashboards."""
        aws.discard("cloudwatch", "DeleteDashboards", {"DashboardNames": [physical.name]})


class LogGroupType(ResourceType):
    type_name = "AWS::Logs::LogGroup"
    name_property = "LogGroupName"
    max_name_length = 512
    replaced_by = frozenset(("LogGroupName",))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateLogGroup and, if there is a retention, PutRetentionPolicy."""
        name = properties["LogGroupName"]
        members = {"logGroupName": name} | ({"kmsKeyId": properties["KmsKeyId"]} if "KmsKeyId" in properties else {})
        tags = {item["Key"]: item["Value"] for item in properties.get("Tags") or []}
        aws.call("logs", "CreateLogGroup", members | ({"tags": tags} if tags else {}))
        with made(Physical(name, {}, name)):
            self._retain(aws, properties)
        groups = aws.call("logs", "DescribeLogGroups", {"logGroupNamePrefix": name})["logGroups"]
        arn = next(group["arn"] for group in groups if group["logGroupName"] == name)
        return Physical(name, {"Arn": arn}, name)

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Change the retention."""
        if "RetentionInDays" not in properties and "RetentionInDays" in before:
            aws.call("logs", "DeleteRetentionPolicy", {"logGroupName": physical.name})
        self._retain(aws, properties)
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteLogGroup."""
        aws.discard("logs", "DeleteLogGroup", {"logGroupName": physical.name})

    @staticmethod
    def _retain(aws: Aws, properties: Properties) -> None:
        if "RetentionInDays" in properties:
            members = {"logGroupName": properties["LogGroupName"], "retentionInDays": properties["RetentionInDays"]}
            aws.call("logs", "PutRetentionPolicy", members)
