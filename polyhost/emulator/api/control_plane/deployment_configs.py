"""UpdateEndpoint's DeploymentConfig: what AWS's service rejects, and what it means for hosting."""

from collections.abc import Sequence

from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.deployment.policy import CapacitySize, CapacityType, DeploymentPolicy, Strategy
from polyhost.emulator.hosting.interfaces import AlarmStates, VariantSpec

_MOST_PERCENT = 50
_LEAST_PERCENT = {Strategy.CANARY: 1, Strategy.LINEAR: 10, Strategy.ROLLING: 5}
_SIZES = {Strategy.CANARY: "CanarySize", Strategy.LINEAR: "LinearStepSize", Strategy.ROLLING: "MaximumBatchSize"}
_ROUTING = "BlueGreenUpdatePolicy.TrafficRoutingConfiguration"


def deployment_policy(config: Members | None) -> DeploymentPolicy:
    """Translate a DeploymentConfig. Raises ValidationException for members that do not go together."""
    config = config or {}
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if blue_green is not None and rolling is not None:
        raise ValidationException(
            "DeploymentConfig can have either BlueGreenUpdatePolicy or RollingUpdatePolicy, but got both."
        )
    alarms = tuple(
        alarm["AlarmName"]
        for alarm in (config.get("AutoRollbackConfiguration") or {}).get("Alarms") or ()
        if alarm.get("AlarmName")
    )
    if rolling is not None:
        return DeploymentPolicy(
            strategy=Strategy.ROLLING,
            size=_size(rolling["MaximumBatchSize"]),
            wait_s=rolling["WaitIntervalInSeconds"],
            limit_s=rolling.get("MaximumExecutionTimeoutInSeconds"),
            rollback_size=_size(rolling.get("RollbackMaximumBatchSize")),
            alarms=alarms,
        )
    if blue_green is None:
        return DeploymentPolicy(alarms=alarms)
    routing = blue_green["TrafficRoutingConfiguration"]
    strategy = Strategy(routing["Type"])
    return DeploymentPolicy(
        strategy=strategy,
        size=_routing_size(strategy, routing),
        wait_s=routing["WaitIntervalInSeconds"],
        termination_wait_s=blue_green.get("TerminationWaitInSeconds") or 0,
        limit_s=blue_green.get("MaximumExecutionTimeoutInSeconds"),
        alarms=alarms,
    )


def check_deployment(policy: DeploymentPolicy, specs: Sequence[VariantSpec]) -> None:
    """Raise ValidationException if the sizes do not fit the new fleets, or the waits the time limit."""
    production = [spec for spec in specs if not spec.shadow]
    if policy.size is not None:
        for spec in production:
            _check_size(policy.strategy, policy.size, spec)
    if policy.rollback_size is not None:
        for spec in production:
            _check_rollback_size(policy.rollback_size, spec)
    waits = policy.waits_s(production)
    if policy.limit_s is not None and waits >= policy.limit_s:
        raise ValidationException(
            f"MaximumExecutionTimeoutInSeconds is {policy.limit_s}; it must be greater than the total waiting time of"
            f" the deployment, which is {waits} seconds: that of TerminationWaitInSeconds and of WaitIntervalInSeconds"
            " for each step."
        )


def check_alarms(policy: DeploymentPolicy, region: str, states: AlarmStates) -> None:
    """Raise ValidationException if alarms of the policy do not exist."""
    if not policy.alarms:
        return
    found = states(region, policy.alarms)
    if missing := [name for name in policy.alarms if found[name] is None]:
        arns = ", ".join(f'"arn:aws:cloudwatch:{region}:{ACCOUNT}:alarm:{name}"' for name in missing)
        raise ValidationException(f"Could not find alarm {arns}.")


def _size(size: Members | None) -> CapacitySize | None:
    return CapacitySize(CapacityType(size["Type"]), size["Value"]) if size is not None else None


def _routing_size(strategy: Strategy, routing: Members) -> CapacitySize | None:
    wanted = _SIZES.get(strategy)
    for member in ("CanarySize", "LinearStepSize"):
        given = routing.get(member) is not None
        if given and member != wanted:
            raise ValidationException(f"{_ROUTING} of Type {strategy} must not have {member}.")
        if not given and member == wanted:
            raise ValidationException(f"{_ROUTING} of Type {strategy} must have {member}.")
    return _size(routing.get(wanted)) if wanted is not None else None


def _check_size(strategy: Strategy, size: CapacitySize, spec: VariantSpec) -> None:
    member = _SIZES[strategy]
    if spec.serverless is not None:
        if size.type is CapacityType.INSTANCE_COUNT:
            raise ValidationException(f"{member} cannot be an INSTANCE_COUNT: variant {spec.name} is serverless.")
    elif size.type is CapacityType.INSTANCE_COUNT and size.value > spec.instance_count:
        raise ValidationException(
            f"{member} is {size.value} instances; variant {spec.name} has {spec.instance_count} only."
        )
    percent = size.percent_of(spec.instance_count)
    if not _LEAST_PERCENT[strategy] <= percent <= _MOST_PERCENT:
        raise ValidationException(
            f"{member} must be between {_LEAST_PERCENT[strategy]}% and {_MOST_PERCENT}% of the total instance count of"
            f" each variant, but is {percent:.0f}% of variant {spec.name}, which has {spec.instance_count}."
        )


def _check_rollback_size(size: CapacitySize, spec: VariantSpec) -> None:
    percent = size.percent_of(spec.instance_count)
    if not _LEAST_PERCENT[Strategy.ROLLING] <= percent <= 100:
        raise ValidationException(
            f"RollbackMaximumBatchSize must be between {_LEAST_PERCENT[Strategy.ROLLING]}% and 100% of the total"
            f" instance count of each variant, but is {percent:.0f}% of variant {spec.name}."
        )
