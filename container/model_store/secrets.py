"""What a model store needs and models must not see: it goes to the front end through a pipe, not an environment."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self


@dataclass(frozen=True)
class StoreSecrets:
    """`variables` are those of the clouds' clients, and HOME; `bearer_token` is empty if clients need none.

    `signing_keys` are secret keys by the ids of access keys, with which clients sign for AWS's runtime API.
    """

    variables: Mapping[str, str]
    bearer_token: str
    signing_keys: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        return cls(**json.loads(text))
