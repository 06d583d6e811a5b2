"""Faults on demand, as clients send them."""

import httpx
import pytest

from tests.emulator.conftest import Local


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('{"kind": "slow-load", "seconds": NaN}', "seconds cannot be nan"),
        ('{"kind": "slow-load", "seconds": Infinity}', "seconds cannot be inf"),
        ('{"kind": "slow-load", "seconds": -1}', "seconds cannot be -1"),
        ('{"kind": "slow-load", "seconds": true}', "seconds cannot be True"),
        ('{"kind": "time-out", "count": 0}', "count cannot be 0"),
        ('{"kind": "time-out", "count": true}', "count cannot be True"),
        ('{"kind": "time-out", "count": 1.5}', "count cannot be 1.5"),
        ('{"kind": "time-out", "skip": -1}', "skip cannot be -1"),
        ('{"kind": "time-out", "model": 1}', "model cannot be 1"),
        ('{"kind": "time-out", "size": 1}', "unknown member 'size'; a fault has kind"),
        ('{"kind": "time-out", "code": "Odd"}', "a fault of kind error must have one of the codes"),
        ('{"kind": "time-out", "code": "ThrottlingException"}', "a fault of kind error must have one of the codes"),
        ('{"kind": "error", "code": "Odd"}', "a fault of kind error must have one of the codes"),
        ('{"kind": "error"}', "a fault of kind error must have one of the codes"),
        ('{"kind": []}', "a fault must be an object whose kind is one of"),
        ("[]", "a fault must be an object whose kind is one of"),
        ("no JSON", "Expecting value"),
    ],
)
def test_invalid_fault_is_rejected(local: Local, fault: str, words: str) -> None:
    url = f"{local.emulator.url}/_polyhost/faults"
    response = httpx.post(url, content=fault, headers={"Content-Type": "application/json"}, trust_env=False)
    assert response.status_code == 400
    assert words in response.json()["message"]
    assert httpx.get(url, trust_env=False).json() == []
