"""The life of a deployment."""

from enum import StrEnum


class DeploymentStage(StrEnum):
    """Stages of a deployment; the values are part of the JSON below /_polyhost/state."""

    CREATING = "Creating"  # the new fleet's first instances
    SHIFTING = "Shifting"  # a step: traffic and, in a rolling update, instances
    BAKING = "Baking"  # watches the alarms after a step
    WAITING = "Waiting"  # keeps the old fleet after the last step
    ROLLING_BACK = "RollingBack"
    DONE = "Done"
    ROLLED_BACK = "RolledBack"
    ROLLBACK_FAILED = "RollbackFailed"


_CREATING, _SHIFTING, _BAKING, _WAITING = (
    DeploymentStage.CREATING,
    DeploymentStage.SHIFTING,
    DeploymentStage.BAKING,
    DeploymentStage.WAITING,
)
_ROLLING_BACK, _DONE = DeploymentStage.ROLLING_BACK, DeploymentStage.DONE
_ROLLED_BACK, _ROLLBACK_FAILED = DeploymentStage.ROLLED_BACK, DeploymentStage.ROLLBACK_FAILED

TRANSITIONS: dict[DeploymentStage, frozenset[DeploymentStage]] = {
    _CREATING: frozenset({_SHIFTING, _ROLLING_BACK}),
    _SHIFTING: frozenset({_BAKING, _ROLLING_BACK}),
    _BAKING: frozenset({_SHIFTING, _WAITING, _DONE, _ROLLING_BACK}),
    _WAITING: frozenset({_DONE, _ROLLING_BACK}),
    _ROLLING_BACK: frozenset({_ROLLED_BACK, _ROLLBACK_FAILED}),
    _DONE: frozenset(),
    _ROLLED_BACK: frozenset(),
    _ROLLBACK_FAILED: frozenset(),
}
