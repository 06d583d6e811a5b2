"""Memory, cores and disk of instance types (AWS, "SageMaker AI pricing" and the pages of EC2 instance types)."""

from dataclasses import dataclass

_GB = 1024**3
DEFAULT_VOLUME_BYTES = 30 * _GB

# Families by their memory in GiB per core; sizes by their cores. botocore's model knows which combinations exist. Types
# that break the rule of their family are in _OTHERS.
_FAMILIES = {
    1.875: ("c4",),
    2: ("c5", "c5d", "c6g", "c6gd", "c6gn", "c6i", "c6in", "c7g", "c7i", "c8g", "inf1"),
    4: ("m4", "m5", "m5d", "m6g", "m6gd", "m6i", "m7i", "m8g", "g4dn", "g5", "g6", "inf2"),
    8: ("r5", "r5d", "r6g", "r6gd", "r6i", "r7gd", "r7i", "r8g", "g6e"),
}
_CORES = {"medium": 1, "large": 2, "xlarge": 4} | {
    f"{number}xlarge": 4 * number for number in (2, 4, 6, 8, 9, 10, 12, 16, 18, 24, 32, 48)
}
_OTHERS = {
    "ml.t2.medium": (4, 2),
    "ml.t2.large": (8, 2),
    "ml.t2.xlarge": (16, 4),
    "ml.t2.2xlarge": (32, 8),
    "ml.c4.8xlarge": (60, 36),
    "ml.p2.xlarge": (61, 4),
    "ml.p2.8xlarge": (488, 32),
    "ml.p2.16xlarge": (732, 64),
    "ml.p3.2xlarge": (61, 8),
    "ml.p3.8xlarge": (244, 32),
    "ml.p3.16xlarge": (488, 64),
}


@dataclass(frozen=True)
class InstanceType:
    """An instance type; `memory_bytes` is not scaled by --memory-scale."""

    name: str
    memory_bytes: int
    cores: int


def _table() -> dict[str, InstanceType]:
    types = {
        f"ml.{family}.{size}": (ratio * cores, cores)
        for ratio, families in _FAMILIES.items()
        for family in families
        for size, cores in _CORES.items()
    }
    return {name: InstanceType(name, int(memory * _GB), cores) for name, (memory, cores) in (types | _OTHERS).items()}


TYPES = _table()
