"""AWS::SNS: topics, subscriptions and topics' policies; AWS::SQS: queues."""

import json
from typing import Any

from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import (
    Aws,
    ImmutableType,
    Properties,
    ResourceType,
    made,
)


class TopicType(ResourceType):
    type_name = "AWS::SNS::Topic"
    name_property = "TopicName"
    max_name_length = 256
    replaced_by = frozenset(("TopicName", "FifoTopic"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateTopic, and Subscribe for each subscription of the topic."""
        name = properties["TopicName"]
        members = {"Name": name, "Attributes": _attributes(properties, ("TopicName", "Subscription", "Tags"))}
        if "Tags" in properties:
            members["Tags"] = properties["Tags"]
        arn = aws.call("sns", "CreateTopic", members)["TopicArn"]
        physical = Physical(arn, {"TopicArn": arn, "TopicName": name}, name)
        with made(physical):
            for item in properties.get("Subscription") or []:
                aws.call("sns", "Subscribe", {"TopicArn": arn, **item})
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Set the attributes, and bring the subscriptions into line."""
        for name, value in _attributes(properties, ("TopicName", "Subscription", "Tags")).items():
            members = {"TopicArn": physical.id, "AttributeName": name, "AttributeValue": value}
            aws.call("sns", "SetTopicAttributes", members)
        wanted = {(item["Protocol"], item["Endpoint"]) for item in properties.get("Subscription") or []}
        present = self._subscriptions(aws, physical.id)
        for protocol, endpoint in wanted - present.keys():
            aws.call("sns", "Subscribe", {"TopicArn": physical.id, "Protocol": protocol, "Endpoint": endpoint})
        for item in before.get("Subscription") or []:
            key = (item["Protocol"], item["Endpoint"])
            if key not in wanted and key in present:
                aws.discard("sns", "Unsubscribe", {"SubscriptionArn": present[key]})
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Delete the topic with the subscriptions that it has."""
        for arn in self._subscriptions(aws, physical.id).values():
            aws.discard("sns", "Unsubscribe", {"SubscriptionArn": arn})
        aws.discard("sns", "DeleteTopic", {"TopicArn": physical.id})

    @staticmethod
    def _subscriptions(aws: Aws, topic: str) -> dict[tuple[str, str], str]:
        found = aws.call("sns", "ListSubscriptionsByTopic", {"TopicArn": topic})["Subscriptions"]
        return {(item["Protocol"], item["Endpoint"]): item["SubscriptionArn"] for item in found}


class SubscriptionType(ResourceType):
    type_name = "AWS::SNS::Subscription"
    required = ("Protocol", "TopicArn")
    replaced_by = frozenset(("Endpoint", "Protocol", "TopicArn"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call Subscribe."""
        keys = ("TopicArn", "Protocol", "Endpoint")
        members: dict[str, Any] = {name: properties[name] for name in keys if name in properties}
        members |= {"Attributes": _attributes(properties, (*keys, "Region")), "ReturnSubscriptionArn": True}
        return Physical(aws.call("sns", "Subscribe", members)["SubscriptionArn"])

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Set the attributes."""
        for name, value in _attributes(properties, ("TopicArn", "Protocol", "Endpoint", "Region")).items():
            members = {"SubscriptionArn": physical.id, "AttributeName": name, "AttributeValue": value}
            aws.call("sns", "SetSubscriptionAttributes", members)
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call Unsubscribe."""
        aws.discard("sns", "Unsubscribe", {"SubscriptionArn": physical.id})


class TopicPolicyType(ImmutableType):
    type_name = "AWS::SNS::TopicPolicy"
    required = ("PolicyDocument", "Topics")

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Set the policy of each topic."""
        document = json.dumps(properties["PolicyDocument"])
        for topic in properties["Topics"]:
            members = {"TopicArn": topic, "AttributeName": "Policy", "AttributeValue": document}
            aws.call("sns", "SetTopicAttributes", members)
        return Physical(f"policy-of-{'-'.join(topic.rpartition(':')[2] for topic in properties['Topics'])}")

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Set the policy of each topic."""
        return self.create(aws, properties)

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Give the topics the policy that they have at first; SNS has no operation that deletes one."""
        for topic in properties["Topics"]:
            members = {"TopicArn": topic, "AttributeName": "Policy", "AttributeValue": _first_policy(topic)}
            aws.discard("sns", "SetTopicAttributes", members)

    def needs_replacement(self, changed: frozenset[str]) -> bool:
        """Return False: both properties are changed in place."""
        return False


class QueueType(ResourceType):
    type_name = "AWS::SQS::Queue"
    name_property = "QueueName"
    max_name_length = 80
    replaced_by = frozenset(("QueueName", "FifoQueue"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateQueue."""
        name = properties["QueueName"]
        members: dict[str, Any] = {"QueueName": name, "Attributes": _attributes(properties, ("QueueName", "Tags"))}
        if "Tags" in properties:
            members["tags"] = {item["Key"]: item["Value"] for item in properties["Tags"]}
        url = aws.call("sqs", "CreateQueue", members)["QueueUrl"]
        wanted = {"QueueUrl": url, "AttributeNames": ["QueueArn"]}
        arn = aws.call("sqs", "GetQueueAttributes", wanted)["Attributes"]["QueueArn"]
        return Physical(url, {"Arn": arn, "QueueName": name, "QueueUrl": url}, name)

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Set the attributes."""
        attributes = _attributes(properties, ("QueueName", "FifoQueue", "Tags"))
        aws.call("sqs", "SetQueueAttributes", {"QueueUrl": physical.id, "Attributes": attributes})
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteQueue."""
        aws.discard("sqs", "DeleteQueue", {"QueueUrl": physical.id})


def _first_policy(topic: str) -> str:
    """Return a new topic's policy: its account may do everything (SNS developer guide)."""
    actions = ("Publish", "Subscribe", "GetTopicAttributes", "SetTopicAttributes", "ListSubscriptionsByTopic")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in (*actions, "AddPermission", "RemovePermission", "DeleteTopic")],
        "Resource": topic,
        "Condition": {"StringEquals": {"AWS:SourceOwner": topic.split(":")[4]}},
    }
    return json.dumps({"Version": "2008-10-17", "Statement": [statement]})


def _attributes(properties: Properties, others: tuple[str, ...]) -> dict[str, str]:
    """Return the properties that the API has as attributes, whose values are text."""
    return {name: _text(value) for name, value in properties.items() if name not in others}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
