"""Types of machines."""

import pytest

from polyhost.instance_types import TYPES
from polyhost.planning import machines
from polyhost.planning.errors import PlanningError
from polyhost.planning.machines import Machine

GB = 1 << 30


@pytest.mark.parametrize(
    ("name", "memory_gb", "cores"),
    [("ml.m5.large", 8, 2), ("ml.c5.9xlarge", 72, 36), ("ml.t2.medium", 4, 2), ("ml.g5.2xlarge", 32, 8)],
)
def test_known_types(name: str, memory_gb: int, cores: int) -> None:
    assert machines.parse(name) == Machine(name, memory_gb * GB, cores)


def test_each_name_has_its_memory() -> None:
    assert set(machines.NAMES) <= set(TYPES)


def test_a_machine_of_ones_own() -> None:
    assert machines.parse("edge=4000MB,4") == Machine("edge", 4000 << 20, 4)


@pytest.mark.parametrize(
    "text", ["ml.m5.tiny", "ml.m5.9xlarge", "", "edge=4GB,4", "edge=4000MB", "edge=4000MB,0", "a=0MB,1"]
)
def test_an_unknown_type_is_named_with_those_that_are_known(text: str) -> None:
    with pytest.raises(PlanningError) as error:
        machines.parse(text)
    assert repr(text) in str(error.value)
    assert "ml.m5.{large,xlarge" in str(error.value) and "mine=16000MB,4" in str(error.value)


def test_what_is_there_for_models() -> None:
    machine = Machine("m", 8 * GB, 2)
    assert machine.for_models(GB) == 7 * GB - int(0.05 * 8 * GB)
    assert machine.for_models(GB, 0) == 7 * GB
    assert machine.for_models(9 * GB) == 0
    assert Machine("m", GB, 2).for_models(0) == GB - (96 << 20)
