"""Placement by free GPU memory; with the real driver on a machine that has one."""

from pathlib import Path

import pytest

from polyhost.container.forkserver.gpus import Gpu, GpuGauge, choose, visible_indices

MB = 1 << 20
DRIVER = Path("/dev/nvidiactl")


def test_gpu_with_the_most_free_memory_is_chosen() -> None:
    gpus = [Gpu(0, 300 * MB), Gpu(1, 900 * MB), Gpu(2, 600 * MB)]

    assert choose(gpus, {}) == 1
    assert choose(gpus, {1: 500 * MB}) == 2
    assert choose(gpus, {1: 800 * MB, 2: 500 * MB}) == 0


def test_first_of_equal_gpus_is_chosen() -> None:
    assert choose([Gpu(0, MB), Gpu(1, MB)], {}) == 0


def test_no_gpu_is_chosen_if_there_is_none() -> None:
    assert choose([], {}) is None


@pytest.mark.parametrize(
    ("visible", "shown"), [(None, [0, 1, 2]), ("", []), ("2,0", [2, 0]), (" 1 ", [1]), ("1,-1,2", [1]), ("0,7,1", [0])]
)
def test_visible_indices_are_those_of_cuda(visible: str | None, shown: list[int]) -> None:
    """An invalid index hides all behind it (CUDA C Programming Guide, environment variables)."""
    assert visible_indices(visible, 3) == shown


def test_devices_named_by_uuid_are_an_error() -> None:
    with pytest.raises(ValueError, match="something else than an index"):
        visible_indices("GPU-8932f937", 3)


def test_there_are_no_gpus_without_a_driver(tmp_path: Path) -> None:
    assert GpuGauge(None, tmp_path / "absent").read() == []


def test_broken_driver_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The driver's device file is there, and its library is not: models are served all the same."""
    if DRIVER.exists():
        pytest.skip("this machine has a driver")
    (tmp_path / "nvidiactl").touch()
    gauge = GpuGauge(None, tmp_path / "nvidiactl")

    assert gauge.read() == gauge.read() == []
    assert len([record for record in caplog.records if "not placed" in record.message]) == 1


@pytest.mark.skipif(not DRIVER.exists(), reason="no GPU here")
def test_real_driver_reports_free_memory() -> None:
    assert all(gpu.free > 0 for gpu in GpuGauge(None).read())
