"""Placement by free GPU memory; the driver itself is asked where there is one."""

from pathlib import Path

import pytest

from polyhost.container.forkserver.gpus import Gpu, GpuGauge, choose, visible_indices

MB = 1 << 20
DRIVER = Path("/dev/nvidiactl")


def test_the_one_with_the_most_memory_free() -> None:
    gpus = [Gpu(0, 300 * MB), Gpu(1, 900 * MB), Gpu(2, 600 * MB)]

    assert choose(gpus, {}) == 1
    assert choose(gpus, {1: 500 * MB}) == 2
    assert choose(gpus, {1: 800 * MB, 2: 500 * MB}) == 0


def test_of_equal_ones_the_first() -> None:
    assert choose([Gpu(0, MB), Gpu(1, MB)], {}) == 0


def test_without_gpus_none_is_chosen() -> None:
    assert choose([], {}) is None


@pytest.mark.parametrize(
    ("visible", "shown"), [(None, [0, 1, 2]), ("", []), ("2,0", [2, 0]), (" 1 ", [1]), ("1,-1,2", [1]), ("0,7,1", [0])]
)
def test_what_cuda_shows(visible: str | None, shown: list[int]) -> None:
    """CUDA C Programming Guide, environment variables: a number that is none hides all behind it."""
    assert visible_indices(visible, 3) == shown


def test_devices_named_otherwise() -> None:
    with pytest.raises(ValueError, match="something else than an index"):
        visible_indices("GPU-8932f937", 3)


def test_without_a_driver_there_are_none(tmp_path: Path) -> None:
    assert GpuGauge(None, tmp_path / "absent").read() == []


def test_a_driver_that_cannot_be_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file is there and the library is not: said once, and models are served all the same."""
    if DRIVER.exists():
        pytest.skip("this machine has a driver")
    (tmp_path / "nvidiactl").touch()
    gauge = GpuGauge(None, tmp_path / "nvidiactl")

    assert gauge.read() == gauge.read() == []
    assert len([record for record in caplog.records if "not placed" in record.message]) == 1


@pytest.mark.skipif(not DRIVER.exists(), reason="no GPU here")
def test_a_real_driver() -> None:
    assert all(gpu.free > 0 for gpu in GpuGauge(None).read())
