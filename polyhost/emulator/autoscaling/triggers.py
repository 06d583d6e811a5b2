"""Alarms in ALARM that call for scaling policies, each once for an evaluation."""

import math
import time
from collections.abc import Iterable
from typing import Any

from polyhost.emulator.alarms.alarm import MetricAlarm
from polyhost.emulator.alarms.evaluation import latest_value, periods_read
from polyhost.emulator.alarms.samples import Samples, read_samples
from polyhost.emulator.alarms.service import Alarms
from polyhost.emulator.autoscaling.decision import Trigger
from polyhost.emulator.autoscaling.policies import TargetTracking, scaling_policy
from polyhost.emulator.autoscaling.scalable_target import NAMESPACE, TargetId, scaling_backend, target_id
from polyhost.emulator.autoscaling.tracking_alarms import HIGH, LOW
from polyhost.emulator.time_scale import TimeScale


def policies_of(region: str, target: TargetId) -> list[Any]:
    """Return moto's policies of a target."""
    return [policy for policy in sagemaker_policies(region) if target_id(policy) == target]


def sagemaker_policies(region: str) -> list[Any]:
    """Return moto's policies of SageMaker's variants."""
    found = list(scaling_backend(region).policies.values())
    return [policy for policy in found if policy.service_namespace == NAMESPACE]


def is_policy(region: str, action: str) -> bool:
    """Tell whether an alarm's action is a policy of a variant."""
    return any(_is_of_policy(action, policy.policy_arn) for policy in sagemaker_policies(region))


class AlarmTriggers:
    """Finds what alarms call for. An alarm that stays in ALARM calls again with each evaluation, as CloudWatch does."""

    def __init__(self, alarms: Alarms, scale: TimeScale) -> None:
        self._alarms = alarms
        self._scale = scale
        self._seen: dict[tuple[str, str], Any] = {}  # by the policy's ARN and the alarm's name

    def find(self, region: str, target: TargetId) -> list[Trigger]:
        """Return what is new for a target. Blocks; any thread may call it, one at a time."""
        raised = self._alarms.raised(region)
        policies = policies_of(region, target)
        called = [(policy, alarm) for policy in policies for alarm in raised if _calls(alarm, policy.policy_arn)]
        new = [(policy, alarm) for policy, alarm in called if self._is_new(policy, alarm)]
        if not new:
            return []
        samples = self._read(region, [alarm for _, alarm in new])
        may_track_in = _all_low(policies, raised)
        return [self._trigger(policy, alarm, samples, may_track_in) for policy, alarm in new]

    def _is_new(self, policy: Any, alarm: Any) -> bool:
        evaluation = (getattr(alarm, "evaluated", None), vars(alarm).get("state_transitioned_timestamp"))
        key = policy.policy_arn, alarm.name
        known, self._seen[key] = self._seen.get(key), evaluation
        return evaluation != known

    def _read(self, region: str, alarms: Iterable[Any]) -> Samples:
        metrics = [metric for alarm in alarms for metric in alarm.meaning.source.metrics]
        longest = max(alarm.meaning.period * periods_read(alarm.meaning) for alarm in alarms)
        return read_samples(region, metrics, time.time() - self._scale.passing(longest + 120))

    def _trigger(self, policy: Any, alarm: Any, samples: Samples, may_track_in: bool) -> Trigger:
        meaning: MetricAlarm = alarm.meaning
        every, passing = meaning.evaluated_every, self._scale.passing
        number = getattr(alarm, "evaluated", math.floor(time.time() / passing(every)))
        value = latest_value(meaning, samples, passing(number * every), passing(meaning.period))
        parsed = scaling_policy(policy)
        tracks = isinstance(parsed, TargetTracking)
        return Trigger(
            policy_name=policy.policy_name,
            policy=parsed,
            alarm=alarm.name,
            # Without a value it is missing data that breaches: the threshold is all that is known.
            value=meaning.threshold if value is None else value,
            threshold=meaning.threshold,
            scales_out=not tracks or HIGH in alarm.name,
            scales_in=not tracks or (LOW in alarm.name and may_track_in),
        )


def _calls(alarm: Any, policy_arn: str) -> bool:
    return any(_is_of_policy(action, policy_arn) for action in alarm.alarm_actions)


def _is_of_policy(action: str, policy_arn: str) -> bool:
    return action == policy_arn or action.startswith(f"{policy_arn}:createdBy/")


def _all_low(policies: Iterable[Any], raised: Iterable[Any]) -> bool:
    """Whether all target tracking policies are ready to scale in, as they must be for one of them to do it."""
    names = {alarm.name for alarm in raised}
    lows = [alarm.name for policy in policies for alarm in policy.alarms if LOW in alarm.name]
    return all(name in names for name in lows)
