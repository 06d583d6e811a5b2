"""The alarms that target tracking makes: above the target for three minutes, below nine tenths of it for fifteen."""

import uuid
from collections.abc import Mapping
from typing import Any

from polyhost.emulator.alarms.alarm import AlarmState, metric_alarm
from polyhost.emulator.alarms.service import Alarms
from polyhost.emulator.autoscaling.scalable_target import Dimension, TargetId
from polyhost.emulator.config import ACCOUNT

HIGH, LOW = "AlarmHigh", "AlarmLow"
_PERIOD_S = 60
_OF_ONE_METRIC = ("namespace", "metric_name", "statistic", "period")
_LOW_SHARE = 0.9
_EVALUATION_PERIODS = {HIGH: 3, LOW: 15}
_OPERATORS = {HIGH: "GreaterThanThreshold", LOW: "LessThanThreshold"}

# The metrics of predefined ones: the dimension that they are for, and name and statistic in CloudWatch.
_PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": (Dimension.INSTANCES, "InvocationsPerInstance", "Sum"),
    "SageMakerVariantProvisionedConcurrencyUtilization": (
        *(Dimension.PROVISIONED, "ServerlessProvisionedConcurrencyUtilization", "Maximum"),
    ),
}


def put_tracking_alarms(alarms: Alarms, region: str, target: TargetId, policy: Any) -> None:
    """Put the alarms of a policy of moto's. Put none of them where it raises ValueError."""
    config = policy.target_tracking_scaling_policy_configuration
    metric = metric_members(target, config)
    kinds = (HIGH,) if config.get("DisableScaleIn") else (HIGH, LOW)
    try:
        for kind in kinds:
            alarm = _put(region, target, policy.policy_arn, kind, config["TargetValue"], metric)
            policy.alarms.append(alarm)
            alarms.claim(alarm, metric_alarm(alarm))
    except ValueError:
        delete_tracking_alarms(region, policy)
        raise


def delete_tracking_alarms(region: str, policy: Any) -> None:
    """Delete the alarms that a policy has made."""
    _backend(region).delete_alarms([alarm.name for alarm in policy.alarms])
    policy.alarms = []


def metric_members(target: TargetId, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an alarm's metric is, for moto. Raises ValueError."""
    predefined, customized = config.get("PredefinedMetricSpecification"), config.get("CustomizedMetricSpecification")
    if (predefined is None) is (customized is None):
        raise ValueError("Specify either PredefinedMetricSpecification or CustomizedMetricSpecification.")
    if predefined is not None:
        return _predefined_members(target, predefined["PredefinedMetricType"])
    assert customized is not None
    if customized.get("Metrics"):
        queries = [_query(item) for item in customized["Metrics"]]
        return {**dict.fromkeys(_OF_ONE_METRIC), "dimensions": [], "metric_data_queries": queries}
    if missing := [name for name in ("Namespace", "MetricName", "Statistic") if not customized.get(name)]:
        raise ValueError(f"CustomizedMetricSpecification lacks {', '.join(missing)}, or Metrics.")
    return {
        "namespace": customized["Namespace"],
        "metric_name": customized["MetricName"],
        "statistic": customized["Statistic"],
        "period": _PERIOD_S,
        "unit": customized.get("Unit"),
        "dimensions": customized.get("Dimensions") or [],
    }


def _predefined_members(target: TargetId, name: str) -> dict[str, Any]:
    if name not in _PREDEFINED:
        raise ValueError(
            f"The emulator does not have the predefined metric {name}; it has {' and '.join(_PREDEFINED)}."
        )
    dimension, metric, statistic = _PREDEFINED[name]
    if dimension is not target.dimension:
        raise ValueError(f"The predefined metric {name} cannot be used with the scalable dimension {target.dimension}.")
    dimensions = {"EndpointName": target.endpoint, "VariantName": target.variant}
    return {
        "namespace": "AWS/SageMaker",
        "metric_name": metric,
        "statistic": statistic,
        "period": _PERIOD_S,
        "dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }


def _put(region: str, target: TargetId, policy_arn: str, kind: str, value: float, metric: dict[str, Any]) -> Any:
    alarm = _backend(region).put_metric_alarm(
        name=f"TargetTracking-{target.resource_id}-{kind}-{uuid.uuid4()}",
        comparison_operator=_OPERATORS[kind],
        evaluation_periods=_EVALUATION_PERIODS[kind],
        threshold=value if kind == HIGH else _LOW_SHARE * value,
        description=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy_arn}.",
        alarm_actions=[f"{policy_arn}:createdBy/{uuid.uuid4()}"],
        **metric,
    )
    alarm.state_value = AlarmState.INSUFFICIENT_DATA.value
    vars(alarm)["state_transitioned_timestamp"] = alarm.state_updated_timestamp
    return alarm


def _query(item: Mapping[str, Any]) -> Any:
    from moto.cloudwatch.models import Dimension as MetricDimension
    from moto.cloudwatch.models import Metric, MetricDataQuery, MetricStat

    stat: Any = None
    if (given := item.get("MetricStat")) is not None:
        metric = given["Metric"]
        dimensions = [MetricDimension(part["Name"], part["Value"]) for part in metric.get("Dimensions") or []]
        named = Metric(metric["MetricName"], metric["Namespace"], dimensions)
        stat = MetricStat(named, str(_PERIOD_S), given["Stat"], given.get("Unit"))
    return_data = item.get("ReturnData", True)
    return MetricDataQuery(
        item["Id"], item.get("Label") or "", str(_PERIOD_S), return_data, item.get("Expression"), stat
    )


def _backend(region: str) -> Any:
    from moto.cloudwatch.models import cloudwatch_backends

    return cloudwatch_backends[ACCOUNT][region]
