"""Machines: their memory and cores, and what of the memory is there for models."""

import re
from dataclasses import dataclass

from polyhost.instance_types import TYPES
from polyhost.planning.errors import PlanningError

_MB = 1024 * 1024
_MIN_RESERVE_BYTES = 96 * _MB
_RESERVE_SHARE = 0.05
# What hosts multi-model endpoints most, in sizes that exist.
_COMMON = {
    "t2": ("medium", "large", "xlarge", "2xlarge"),
    "m5": ("large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge"),
    "m6i": ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge"),
    "c5": ("large", "xlarge", "2xlarge", "4xlarge", "9xlarge", "18xlarge"),
    "c6i": ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge"),
    "r5": ("large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge"),
    "r6i": ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge"),
    "g4dn": ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"),
    "g5": ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"),
}
NAMES = tuple(f"ml.{family}.{size}" for family, sizes in _COMMON.items() for size in sizes)
_OWN = re.compile(r"(?P<name>[^=,\s]+)=(?P<megabytes>[0-9]+)MB,(?P<cores>[0-9]+)")


@dataclass(frozen=True)
class Machine:
    """A type of machine; `memory_bytes` is all that it has."""

    name: str
    memory_bytes: int
    cores: int

    def for_models(self, container_bytes: int, reserve_bytes: int | None = None) -> int:
        """Return the bytes that models may take, beside the container's own and the reserve that admission keeps."""
        reserve = default_reserve(self.memory_bytes) if reserve_bytes is None else reserve_bytes
        return max(0, self.memory_bytes - container_bytes - reserve)


def parse(text: str) -> Machine:
    """Read an instance type's name, or a custom machine, NAME=MEGABYTESMB,CORES. Raises PlanningError."""
    if text in NAMES:
        known = TYPES[text]
        return Machine(text, known.memory_bytes, known.cores)
    own = _OWN.fullmatch(text)
    if own is None or not int(own["cores"]) or not int(own["megabytes"]):
        families = ", ".join(f"ml.{family}.{{{','.join(sizes)}}}" for family, sizes in _COMMON.items())
        raise PlanningError(
            f"machine type {text!r} is not known; use one of {families}, or memory and cores as in mine=16000MB,4"
        )
    return Machine(own["name"], int(own["megabytes"]) * _MB, int(own["cores"]))


def default_reserve(memory_bytes: int) -> int:
    """Return what a container keeps free where POLYHOST_MEMORY_RESERVE_MB does not say it."""
    return max(_MIN_RESERVE_BYTES, int(memory_bytes * _RESERVE_SHARE))
