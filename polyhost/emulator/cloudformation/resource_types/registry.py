"""All types of resources, by their names in templates."""

from collections.abc import Mapping

from polyhost.emulator.cloudformation.resource_types import (
    cloudwatch,
    event_sources,
    functions,
    http_apis,
    iam,
    messaging,
    rest_apis,
    sagemaker,
    scaling,
    storage,
    usage_plans,
)
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
        functions.FunctionType(),
        functions.FunctionVersionType(),
        functions.FunctionAliasType(),
        functions.FunctionUrlType(),
        functions.PermissionType(),
        functions.EventInvokeConfigType(),
        functions.LayerVersionType(),
        event_sources.EventSourceMappingType(),
        rest_apis.RestApiType(),
        rest_apis.DeploymentType(),
        rest_apis.StageType(),
        usage_plans.UsagePlanType(),
        usage_plans.ApiKeyType(),
        usage_plans.UsagePlanKeyType(),
        http_apis.HttpApiType(),
        http_apis.HttpIntegrationType(),
        http_apis.HttpRouteType(),
        http_apis.HttpStageType(),
        http_apis.HttpDeploymentType(),
    )
}
