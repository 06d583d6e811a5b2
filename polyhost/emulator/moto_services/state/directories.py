"""SNS, IAM, alarms and scaling policies, saved as a whole after each request that may have changed them."""

import sys
from collections.abc import Iterable
from typing import Any

from moto.backends import get_backend
from moto.core.base_backend import BackendDict
from moto.iam.models import AWSManagedPolicy, IAMBackend

from polyhost.emulator.autoscaling.activities import ATTRIBUTE as ACTIVITIES
from polyhost.emulator.moto_services.state import pickles
from polyhost.emulator.moto_services.state.records import Change, Records, Update

# What is saved of a backend. Not among them: what was published or sent, and facts about moto itself.
_ATTRIBUTES = {
    "cloudwatch": ("alarms",),
    "applicationautoscaling": ("targets", "policies", "scheduled_actions", ACTIVITIES),
    "sns": ("topics", "subscriptions", "applications", "platform_endpoints", "sms_attributes", "opt_out_numbers"),
    "iam": (
        *("roles", "users", "groups", "instance_profiles", "managed_policies", "inline_policies", "access_keys"),
        *("certificates", "saml_providers", "open_id_providers", "virtual_mfa_devices"),
        *("account_aliases", "account_password_policy", "tagger"),
    ),
}
DIRECTORIES = tuple(_ATTRIBUTES)


class DirectoriesState:
    """Saves and restores backends, one record each."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def restore(self) -> None:
        """Give moto what was saved."""
        for service in DIRECTORIES:
            for (account, region), content in self._records.load(service):
                backend = _backends(service)[account][region]
                vars(backend).update(pickles.load(content, backend))
                if isinstance(backend, IAMBackend):
                    _count_attachments(backend)

    def update(self, services: Iterable[str]) -> Update:
        """Return what is to be written for the backends of these services, as they are now."""
        changes = [
            Change(service, (account, region), _content(backend, _ATTRIBUTES[service]))
            for service in services
            # One that is not imported has nothing: Application Auto Scaling brings EC2 along, which takes a second.
            if f"moto.{service}.models" in sys.modules
            for account, region, backend in list(_backends(service).iter_backends())
        ]
        return Update(changes, lambda: None)


def _backends(service: Any) -> BackendDict[Any]:
    backends: BackendDict[Any] = get_backend(service)
    return backends


def _content(backend: Any, attributes: tuple[str, ...]) -> bytes:
    return pickles.dump({name: getattr(backend, name) for name in attributes if hasattr(backend, name)})


def _count_attachments(backend: IAMBackend) -> None:
    """AWS's own policies are not saved, and moto counts in them what they are attached to."""
    owners: list[Any] = [*backend.roles.values(), *backend.users.values(), *backend.groups.values()]
    for owner in owners:
        for policy in owner.managed_policies.values():
            if isinstance(policy, AWSManagedPolicy):
                policy.attachment_count += 1
