"""What a model store needs and models must not see: it goes to the front end through a pipe, not an environment."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True)
class StoreSecrets:
    """`variables` are those of the clouds' clients, and HOME; `bearer_token` is empty if clients need none."""

    variables: Mapping[str, str]
    bearer_token: str

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        return cls(**json.loads(text))
