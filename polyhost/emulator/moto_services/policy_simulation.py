"""IAM's SimulatePrincipalPolicy, which moto lacks and the SageMaker SDK calls before it uses a role."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from moto.core.responses import ActionResult
from moto.iam.exceptions import InvalidInput
from moto.iam.models import IAMBackend
from moto.iam.policy_validation import BaseIAMPolicyValidator
from moto.iam.responses import IamResponse


class Statement(NamedTuple):
    """A statement of a policy, and the policy's name."""

    policy: str
    content: dict[str, Any]

    def decides(self, action: str, resource: str) -> bool:
        """Tell whether the statement is about this action on this resource.

        Conditions are not evaluated: an Allow with one counts as if it was met, a Deny as if it was not.
        """
        content = self.content
        if content.get("Effect") == "Deny" and "Condition" in content:
            return False
        return _concerns(content, "Action", action) and _concerns(content, "Resource", resource)


def simulate(statements: list[Statement], action: str, resource: str) -> dict[str, Any]:
    """Return one EvaluationResult."""
    matched = [statement for statement in statements if statement.decides(action, resource)]
    denying = [statement for statement in matched if statement.content.get("Effect") == "Deny"]
    decision = "explicitDeny" if denying else "allowed" if matched else "implicitDeny"
    return {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": decision,
        "MatchedStatements": [{"SourcePolicyId": statement.policy} for statement in denying or matched],
        "MissingContextValues": [],
    }


def add_to_iam() -> None:
    """Give moto's IAM the operation, and let it take policies without a version, such as SAM's."""
    setattr(IamResponse, "simulate_principal_policy", _simulate_principal_policy)  # noqa: B010 - unknown to mypy
    validator: Any = BaseIAMPolicyValidator
    validate = validator._validate_version

    def validate_version(document: Any) -> None:
        if "Version" in document._policy_json:
            validate(document)

    validator._validate_version = validate_version


def _simulate_principal_policy(response: IamResponse) -> ActionResult:
    attached = list(_policies(response.backend, response._get_param("PolicySourceArn")))
    given = [("PolicyInputList", document) for document in response._get_param("PolicyInputList", [])]
    statements = [statement for name, document in [*attached, *given] for statement in _statements(name, document)]
    if not statements:
        # The emulator denies nothing to anybody, and many local roles have no policies.
        statements = [Statement("none", {"Effect": "Allow", "Action": "*", "Resource": "*"})]
    resources = response._get_param("ResourceArns", []) or ["*"]
    results = [
        simulate(statements, action, resource)
        for action in response._get_param("ActionNames", [])
        for resource in resources
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _policies(backend: IAMBackend, arn: str) -> Iterator[tuple[str, str]]:
    """Yield name and document of the policies of a user, a group or a role. Raises moto's NoSuchEntity."""
    kind, _, path = arn.split(":", 5)[-1].partition("/")
    name = path.rpartition("/")[2]
    owners: list[Any]
    if kind == "role":
        owners = [backend.get_role(name)]
    elif kind == "group":
        owners = [backend.get_group(name)]
    elif kind == "user":
        owners = [backend.get_user(name), *backend.get_groups_for_user(name)]
    else:
        raise InvalidInput(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    for owner in owners:
        yield from owner.policies.items()
        for policy in owner.managed_policies.values():
            yield policy.name, next(version.document for version in policy.versions if version.is_default)


def _statements(name: str, document: str) -> list[Statement]:
    """Return a policy's statements. Raises InvalidInput."""
    try:
        content = json.loads(document)["Statement"]
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"The policy {name} is not valid JSON with a Statement.") from None
    return [Statement(name, item) for item in (content if isinstance(content, list) else [content])]


def _concerns(statement: Mapping[str, Any], element: str, value: str) -> bool:
    """Tell whether the element of this name, or its opposite (`NotAction`), includes the value."""
    if element in statement:
        return _matches(statement[element], value, element == "Action")
    opposite = f"Not{element}"
    return opposite in statement and not _matches(statement[opposite], value, element == "Action")


def _matches(patterns: str | list[str], value: str, ignore_case: bool) -> bool:
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(expression, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)):
            return True
    return False
