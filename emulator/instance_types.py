"""What instance types have: memory, cores, disk (AWS's pages of SageMaker instance types)."""

from dataclasses import dataclass

_GB = 1024**3
DEFAULT_VOLUME_BYTES = 30 * _GB

# Family → memory in GiB per core; sizes → cores. A few types break their family's rule and stand below.
_MEMORY_PER_CORE = {
    "m4": 4,
    "m5": 4,
    "m5d": 4,
    "m6i": 4,
    "m7i": 4,
    "c4": 1.875,
    "c5": 2,
    "c5d": 2,
    "c6i": 2,
    "c7i": 2,
    "r5": 8,
    "r5d": 8,
    "r6i": 8,
}
_CORES = {"large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "12xlarge": 48, "24xlarge": 96}
_OTHERS = {
    "ml.t2.medium": (4, 2),
    "ml.t2.large": (8, 2),
    "ml.t2.xlarge": (16, 4),
    "ml.t2.2xlarge": (32, 8),
    "ml.m5.large": (8, 2),
    "ml.g4dn.xlarge": (16, 4),
    "ml.g4dn.2xlarge": (32, 8),
    "ml.g5.xlarge": (16, 4),
    "ml.g5.2xlarge": (32, 8),
    "ml.p3.2xlarge": (61, 8),
}


@dataclass(frozen=True)
class InstanceType:
    """`memory_bytes` before the emulator's scale."""

    name: str
    memory_bytes: int
    cores: int


def _table() -> dict[str, InstanceType]:
    types = {
        f"ml.{family}.{size}": (ratio * cores, cores)
        for family, ratio in _MEMORY_PER_CORE.items()
        for size, cores in _CORES.items()
    }
    return {name: InstanceType(name, int(memory * _GB), cores) for name, (memory, cores) in (types | _OTHERS).items()}


TYPES = _table()
