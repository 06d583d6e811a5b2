"""Where an execution environment runs."""

from dataclasses import dataclass
from pathlib import Path

# A first initialization that takes longer is broken off, and begun anew within the function's own time-out (developer
# guide, lambda-runtime-environment).
INIT_S = 10.0


@dataclass(frozen=True)
class EnvironmentPlace:
    """Where an environment runs: a folder of its own, a name that is unique on the machine, the emulator to call.

    `owner` is the name of the emulator's run directory.
    """

    folder: Path
    name: str
    owner: str
    aws_url: str
    init_s: float = INIT_S
