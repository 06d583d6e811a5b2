"""AWS::IAM: roles, their inline policies, and managed policies."""

import json
from typing import Any

from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, Properties, ResourceType, made

_IAM = "CAPABILITY_IAM"
# The property that names what has a policy, and the word for it in operations.
_OWNERS = {"Roles": "Role", "Users": "User", "Groups": "Group"}


class RoleType(ResourceType):
    type_name = "AWS::IAM::Role"
    name_property = "RoleName"
    max_name_length = 64
    required = ("AssumeRolePolicyDocument",)
    replaced_by = frozenset(("Path", "RoleName"))
    capability = _IAM

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateRole, and attach and put the role's policies."""
        separate = ("ManagedPolicyArns", "Policies", "AssumeRolePolicyDocument")
        members = {name: value for name, value in properties.items() if name not in separate}
        members["AssumeRolePolicyDocument"] = json.dumps(properties["AssumeRolePolicyDocument"])
        role = aws.call("iam", "CreateRole", members)["Role"]
        physical = Physical(role["RoleName"], {"Arn": role["Arn"], "RoleId": role["RoleId"]}, role["RoleName"])
        with made(physical):
            self._put_policies(aws, physical.name, properties, {})
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Change the trust policy, the description, the session's length, and the policies."""
        name, document = physical.name, json.dumps(properties["AssumeRolePolicyDocument"])
        aws.call("iam", "UpdateAssumeRolePolicy", {"RoleName": name, "PolicyDocument": document})
        others = {key: properties[key] for key in ("Description", "MaxSessionDuration") if key in properties}
        aws.call("iam", "UpdateRole", {"RoleName": name, **others})
        self._put_policies(aws, name, properties, before)
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Delete the role with the policies that the template gave it."""
        self._put_policies(aws, physical.name, {}, properties)
        aws.discard("iam", "DeleteRole", {"RoleName": physical.name})

    @staticmethod
    def _put_policies(aws: Aws, role: str, properties: Properties, before: Properties) -> None:
        wanted, had = (set(item.get("ManagedPolicyArns") or []) for item in (properties, before))
        for arn in sorted(wanted - had):
            aws.call("iam", "AttachRolePolicy", {"RoleName": role, "PolicyArn": arn})
        for arn in sorted(had - wanted):
            aws.discard("iam", "DetachRolePolicy", {"RoleName": role, "PolicyArn": arn})
        inline = {item["PolicyName"]: item["PolicyDocument"] for item in properties.get("Policies") or []}
        for name, document in inline.items():
            members = {"RoleName": role, "PolicyName": name, "PolicyDocument": json.dumps(document)}
            aws.call("iam", "PutRolePolicy", members)
        for item in before.get("Policies") or []:
            if item["PolicyName"] not in inline:
                aws.discard("iam", "DeleteRolePolicy", {"RoleName": role, "PolicyName": item["PolicyName"]})


class PolicyType(ResourceType):
    """An inline policy of roles, users and groups."""

    type_name = "AWS::IAM::Policy"
    required = ("PolicyDocument", "PolicyName")
    capability = _IAM

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Put the policy into each of its owners."""
        document = json.dumps(properties["PolicyDocument"])
        physical = Physical(properties["PolicyName"])
        with made(physical):
            for kind, owner in _owners(properties):
                members = {f"{kind}Name": owner, "PolicyName": physical.id, "PolicyDocument": document}
                aws.call("iam", f"Put{kind}Policy", members)
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Put the policy, and delete it from owners that it has no longer, and under its former name."""
        changed = self.create(aws, properties)
        kept = _owners(properties) if properties["PolicyName"] == before["PolicyName"] else set()
        self._delete(aws, before["PolicyName"], _owners(before) - kept)
        return changed

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Delete the policy from each of its owners."""
        self._delete(aws, properties["PolicyName"], _owners(properties))

    @staticmethod
    def _delete(aws: Aws, name: str, owners: set[tuple[str, str]]) -> None:
        for kind, owner in sorted(owners):
            aws.discard("iam", f"Delete{kind}Policy", {f"{kind}Name": owner, "PolicyName": name})


class ManagedPolicyType(ResourceType):
    type_name = "AWS::IAM::ManagedPolicy"
    name_property = "ManagedPolicyName"
    max_name_length = 128
    required = ("PolicyDocument",)
    replaced_by = frozenset(("Description", "ManagedPolicyName", "Path"))
    capability = _IAM

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreatePolicy, and attach the policy."""
        others = {name: properties[name] for name in ("Description", "Path") if name in properties}
        document = json.dumps(properties["PolicyDocument"])
        members = {"PolicyName": properties["ManagedPolicyName"], "PolicyDocument": document, **others}
        arn = aws.call("iam", "CreatePolicy", members)["Policy"]["Arn"]
        physical = Physical(arn, {"PolicyArn": arn}, properties["ManagedPolicyName"])
        with made(physical):
            self._attach(aws, arn, _owners(properties))
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Replace the policy's only version, and attach and detach it."""
        old = [item["VersionId"] for item in self._versions(aws, physical.id)]
        members: dict[str, Any] = {"PolicyArn": physical.id, "SetAsDefault": True}
        members["PolicyDocument"] = json.dumps(properties["PolicyDocument"])
        aws.call("iam", "CreatePolicyVersion", members)
        for version in old:
            aws.call("iam", "DeletePolicyVersion", {"PolicyArn": physical.id, "VersionId": version})
        self._attach(aws, physical.id, _owners(properties) - _owners(before))
        self._detach(aws, physical.id, _owners(before) - _owners(properties))
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Detach the policy and delete it."""
        self._detach(aws, physical.id, _owners(properties))
        aws.discard("iam", "DeletePolicy", {"PolicyArn": physical.id})

    @staticmethod
    def _versions(aws: Aws, arn: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = aws.call("iam", "ListPolicyVersions", {"PolicyArn": arn})["Versions"]
        return found

    @staticmethod
    def _attach(aws: Aws, arn: str, owners: set[tuple[str, str]]) -> None:
        for kind, owner in sorted(owners):
            aws.call("iam", f"Attach{kind}Policy", {f"{kind}Name": owner, "PolicyArn": arn})

    @staticmethod
    def _detach(aws: Aws, arn: str, owners: set[tuple[str, str]]) -> None:
        for kind, owner in sorted(owners):
            aws.discard("iam", f"Detach{kind}Policy", {f"{kind}Name": owner, "PolicyArn": arn})


def _owners(properties: Properties) -> set[tuple[str, str]]:
    """Return the roles, users and groups of a policy, each with its kind."""
    return {(kind, owner) for name, kind in _OWNERS.items() for owner in properties.get(name) or []}
