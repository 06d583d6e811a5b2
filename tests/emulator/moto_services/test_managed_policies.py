"""AWS's own policies, each there once something names it."""

from moto.iam.models import IAMBackend

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.moto_services.managed_policies import provide_policy
from polyhost.emulator.moto_services.state import pickles

BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def test_policies_are_added_by_their_arn_only() -> None:
    backend = IAMBackend("aws", ACCOUNT)
    others = ("service-role/Nothing", "AWSLambdaBasicExecutionRole", "/")
    for arn in (BASIC, *(f"arn:aws:iam::aws:policy/{name}" for name in others), f"arn:aws:iam::{ACCOUNT}:policy/mine"):
        provide_policy(backend, arn)
    assert list(backend.managed_policies) == [BASIC]
    assert "logs:PutLogEvents" in backend.managed_policies[BASIC].versions[0].document


def test_a_saved_reference_to_a_policy_adds_it() -> None:
    first, second = IAMBackend("aws", ACCOUNT), IAMBackend("aws", ACCOUNT)
    provide_policy(first, BASIC)
    restored = pickles.load(pickles.dump({"policy": first.managed_policies[BASIC]}), second)
    assert restored["policy"] is second.managed_policies[BASIC]
