"""All types of resources, by their names in templates."""

from collections.abc import Mapping

from polyhost.emulator.cloudformation.resource_types import cloudwatch, iam, messaging, sagemaker, scaling, storage
from polyhost.emulator.cloudformation.resource_types.interfaces import ResourceType

RESOURCE_TYPES: Mapping[str, ResourceType] = {
    made.type_name: made
    for made in (
        sagemaker.ModelType(),
        sagemaker.EndpointConfigType(),
        sagemaker.EndpointType(),
        scaling.ScalableTargetType(),
        scaling.ScalingPolicyType(),
        cloudwatch.AlarmType(),
        cloudwatch.CompositeAlarmType(),
        cloudwatch.DashboardType(),
        cloudwatch.LogGroupType(),
        messaging.TopicType(),
        messaging.SubscriptionType(),
        messaging.TopicPolicyType(),
        messaging.QueueType(),
        iam.RoleType(),
        iam.PolicyType(),
        iam.ManagedPolicyType(),
        storage.BucketType(),
        storage.BucketPolicyType(),
        storage.KeyType(),
        storage.KeyAliasType(),
    )
}
