"""AWS's own policies: moto has their texts, and here each is there once something asks for it, not all at once."""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, IAMBackend

_ARN = re.compile(r"arn:[^:]+:iam::aws:policy/(?:.+/)?(?P<name>[^/]+)")
# Operations of moto's whose first argument is the ARN of a policy.
_OPERATIONS = ("attach_role_policy", "attach_user_policy", "attach_group_policy", "get_policy")


def add_aws_policies() -> None:
    """Give moto's IAM the policies that operations name."""
    for name in _OPERATIONS:
        setattr(IAMBackend, name, _with_policy(getattr(IAMBackend, name)))


def provide_policy(backend: IAMBackend, arn: str) -> None:
    """Add a policy of AWS's to a backend, unless it has it already or AWS has none with this ARN."""
    found = _ARN.fullmatch(arn)
    if found is None or arn in backend.managed_policies:
        return
    # Each policy begins on a line of its own, indented once: the other five megabytes need not be parsed.
    name, text = found["name"], str(aws_managed_policies_data)
    start = text.find(f"\n {json.dumps(name)}:")
    if start < 0:
        return
    data, _ = json.JSONDecoder().raw_decode(text, text.index("{", start))
    policy = AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, data)
    if policy.arn == arn:
        backend.managed_policies[arn] = policy
        backend.aws_managed_policies.append(policy)


def _with_policy(operation: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(operation)
    def run(backend: IAMBackend, policy_arn: str, *arguments: Any, **named: Any) -> Any:
        provide_policy(backend, policy_arn)
        return operation(backend, policy_arn, *arguments, **named)

    return run
