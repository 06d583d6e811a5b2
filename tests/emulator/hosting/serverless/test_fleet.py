"""Cold starts, the maximum concurrency, idle containers, provisioned concurrency, and the end of a fleet."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from polyhost.emulator.errors import ContainerError, ModelNotReady, ThrottlingException
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.faults import Fault, FaultKind
from polyhost.emulator.hosting.interfaces import Container, Launch, Platform, ServerlessCapacity
from polyhost.emulator.telemetry.recorder import MetricValue
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError
from tests.emulator.conftest import COMMAND
from tests.emulator.hosting.harness import DEADLINE_S, DriverWrapper, recorded
from tests.emulator.hosting.serverless.harness import pid, running
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class _SlowDriver(DriverWrapper):
    """Starts a container when `may_start` is set, and counts those that run at the same time."""

    def __init__(self) -> None:
        super().__init__(ProcessDriver(COMMAND))
        self.may_start = asyncio.Event()
        self.waiting = 0
        self.running: list[Container] = []
        self.most = 0

    async def start(self, launch: Launch) -> Container:
        self.waiting += 1
        await self.may_start.wait()
        self.waiting -= 1
        container = await super().start(launch)
        self.running.append(container)
        alive = [other for other in self.running if other.pid is not None and Path(f"/proc/{other.pid}").exists()]
        self.most = max(self.most, len(alive))
        return container


def values(platform: Platform) -> dict[str, list[float]]:
    """Return a dict that fills with the values of metrics from now on."""
    found: dict[str, list[float]] = {}

    def on_metric(metric: MetricValue) -> None:
        found.setdefault(metric.name, []).append(metric.value)

    platform.recorder.listen(on_metric=on_metric)
    return found


async def test_a_container_comes_with_a_call_and_goes_when_it_is_idle(tmp_path: Path) -> None:
    async with running(tmp_path, idle_s=0.5) as calls:
        assert await calls.statuses() == []
        metrics = values(calls.platform)
        (call,) = calls.begin()
        await calls.until_statuses("Busy")
        calls.release()
        await call
        await calls.until_gone()
        assert len(metrics["ModelSetupTime"]) == 1
        assert "the container was idle for 0.5 s" in recorded(calls.platform, "instance")


async def test_a_warm_container_takes_the_next_call(tmp_path: Path) -> None:
    async with running(tmp_path) as calls:
        calls.release()
        assert len({await calls.one() for _ in range(5)}) == 1
        assert calls.fleet.summary()["cold_starts"] == 1


async def test_each_call_in_progress_has_a_container_and_those_above_the_maximum_are_throttled(tmp_path: Path) -> None:
    async with running(tmp_path, max_concurrency=3) as calls:
        metrics = values(calls.platform)
        begun = calls.begin(3)
        await calls.until_statuses("Busy", "Busy", "Busy")
        for _ in range(2):
            with pytest.raises(ThrottlingException) as caught:
                await calls.one()
            assert caught.value.message is None
        calls.release()
        assert len({pid(await call) for call in begun}) == 3
        assert await calls.statuses() == ["Warm"] * 3
        assert await calls.one() in await calls.processes()
        assert calls.fleet.summary() | {"cold_starts": 3, "throttled": 2, "executions": 0} == calls.fleet.summary()
        assert metrics["ServerlessConcurrentExecutionsUtilization"] == pytest.approx([1 / 3, 2 / 3, 1, 1 / 3])


async def test_a_burst_never_has_more_containers_than_allowed(tmp_path: Path) -> None:
    driver = _SlowDriver()
    driver.may_start.set()
    async with running(tmp_path, max_concurrency=4, idle_s=0.2, driver=driver) as calls:
        calls.release()

        async def client() -> Counter[str]:
            seen: Counter[str] = Counter()
            for number in range(15):
                try:
                    await calls.one()
                    seen["answered"] += 1
                except ThrottlingException:
                    seen["throttled"] += 1
                await asyncio.sleep(0.05 * (number % 5))  # now and then long enough for containers to end
            return seen

        seen = sum(await asyncio.gather(*(client() for _ in range(8))), Counter[str]())
        assert seen.total() == 120
        assert seen["answered"] >= 15
        assert driver.most <= 4


async def test_a_call_that_waits_too_long_for_a_start_leaves_the_container_to_the_next(tmp_path: Path) -> None:
    driver = _SlowDriver()
    driver.may_start.set()
    async with running(tmp_path, driver=driver) as calls:
        calls.release()
        driver.may_start.clear()
        (call,) = calls.begin(timeout_s=0.2)
        with pytest.raises(ModelNotReady, match="Variant AllTraffic is not ready for inference"):
            await call
        assert await calls.statuses() == ["Starting"]
        (call,) = calls.begin()
        await until(lambda: calls.fleet.executions == 1)
        driver.may_start.set()
        assert pid(await call) == (await calls.processes())[0]
        assert calls.fleet.summary()["cold_starts"] == 1


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (FaultKind.REFUSE_LOAD, ContainerGoneError, "did not pass the ping health check.*a fault on demand"),
        (FaultKind.TIME_OUT, ContainerTimeoutError, "in time"),
    ],
)
async def test_faults_on_demand(tmp_path: Path, kind: FaultKind, error: type[Exception], message: str) -> None:
    async with running(tmp_path) as calls:
        calls.release()
        calls.platform.faults.add(Fault(kind))
        with pytest.raises(error, match=message):
            await calls.one()
        await calls.until_gone()
        await calls.one()


async def test_a_slow_start_on_demand_ends_with_model_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as calls:
        calls.platform.faults.add(Fault(FaultKind.SLOW_LOAD, seconds=600.0))
        (call,) = calls.begin(timeout_s=0.2)
        with pytest.raises(ModelNotReady):
            await call


async def test_a_container_that_is_killed_on_demand_is_replaced_by_the_next_call(tmp_path: Path) -> None:
    async with running(tmp_path) as calls:
        calls.release()
        first = await calls.one()
        calls.platform.faults.add(Fault(FaultKind.KILL_CONTAINER))
        try:
            second = await calls.one()  # as on an instance: the call may have reached the container before its end
        except ContainerGoneError:
            second = await calls.one()
        assert second != first


async def test_a_container_that_does_not_respond_in_time_takes_no_other_call(tmp_path: Path) -> None:
    async with running(tmp_path) as calls:
        (call,) = calls.begin()
        await calls.until_statuses("Busy")
        (busy,) = await calls.processes()
        calls.release()
        await call
        calls.hold()
        (call,) = calls.begin(timeout_s=0.2)
        with pytest.raises(ContainerTimeoutError):
            await call
        calls.release()
        assert await calls.one() != busy


async def test_a_container_that_ends_while_it_is_idle_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as calls:
        calls.release()
        first = await calls.one()
        os.kill(first, signal.SIGKILL)
        await calls.until_gone()
        assert f"the container ended while it was idle, with status {-signal.SIGKILL}" in recorded(
            calls.platform, "failed"
        )
        assert await calls.one() != first


async def test_a_container_that_ends_during_a_call(tmp_path: Path) -> None:
    async with running(tmp_path, settings={"exit": 7}) as calls:
        calls.release()
        with pytest.raises(ContainerGoneError, match="gave no response"):
            await calls.one()
        await calls.until_gone()


async def test_a_cold_start_that_fails_has_its_reason(tmp_path: Path) -> None:
    async with running(tmp_path) as calls:
        (tmp_path / "model.tar.gz").unlink()
        with pytest.raises(ContainerGoneError, match="Failed to download model data for container"):
            await calls.one()
        await calls.until_gone()


async def test_a_container_that_fails_its_health_check_fails_the_fleet(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match=r"(?s)ended with status 3.*it cannot go on"):
        async with running(tmp_path, small_exit=3):
            pass
    assert list((tmp_path / "instances").iterdir()) == []


async def test_provisioned_containers_are_warm_and_further_calls_spill_over(tmp_path: Path) -> None:
    async with running(tmp_path, provisioned=2, idle_s=0.3) as calls:
        assert await calls.statuses() == ["Warm", "Warm"]
        provisioned = set(await calls.processes())
        metrics = values(calls.platform)
        begun = calls.begin(3)
        await calls.until_statuses("Busy", "Busy", "Busy")
        calls.release()
        assert provisioned < {pid(await call) for call in begun}
        await calls.until_statuses("Warm", "Warm")  # the third was idle for too long
        assert calls.fleet.summary()["cold_starts"] == 1
        names = [f"ServerlessProvisionedConcurrency{name}" for name in ("Invocations", "SpilloverInvocations")]
        assert [len(metrics[name]) for name in names] == [2, 1]
        assert metrics["ServerlessProvisionedConcurrencyExecutions"] == [1, 2, 3]
        assert metrics["ServerlessProvisionedConcurrencyUtilization"] == [0.5, 1, 1.5]


async def test_a_provisioned_container_that_ends_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path, provisioned=2) as calls:
        before = await calls.processes()
        for process in before:
            os.kill(process, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_S):
            while set(before) & set(await calls.processes()) or await calls.statuses() != ["Warm", "Warm"]:
                await asyncio.sleep(0.01)


async def test_resizing(tmp_path: Path) -> None:
    async with running(tmp_path, max_concurrency=2) as calls:
        begun = calls.begin(2)
        await calls.until_statuses("Busy", "Busy")
        await calls.fleet.resize(ServerlessCapacity(1024, 4, 3))
        assert await calls.statuses() == ["Busy", "Busy", "Warm"]
        begun += calls.begin(2)
        await calls.until_statuses(*["Busy"] * 4)
        await calls.fleet.resize(ServerlessCapacity(1024, 1, 1))
        with pytest.raises(ThrottlingException):
            await calls.one()
        calls.release()
        assert [(await call).status for call in begun] == [200] * 4
        await calls.until_statuses("Warm")


async def test_resizing_that_fails_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, max_concurrency=2) as calls:
        (tmp_path / "model.tar.gz").rename(tmp_path / "elsewhere")
        with pytest.raises(Exception, match="there is no object"):
            await calls.fleet.resize(ServerlessCapacity(1024, 4, 3))
        assert calls.fleet.capacity == ServerlessCapacity(1024, 2)
        (tmp_path / "elsewhere").rename(tmp_path / "model.tar.gz")
        begun = calls.begin(2)
        await calls.until_statuses("Busy", "Busy")
        with pytest.raises(ThrottlingException):
            await calls.one()
        calls.release()
        assert [(await call).status for call in begun] == [200, 200]


async def test_calls_end_before_their_containers_and_later_ones_go_to_the_successor(tmp_path: Path) -> None:
    async with running(tmp_path) as calls:
        (tmp_path / "second").mkdir()
        async with running(tmp_path / "second") as other:
            begun = calls.begin(2)
            await calls.until_statuses("Busy", "Busy")
            calls.fleet.successor = other.fleet
            stopping = asyncio.create_task(calls.fleet.stop())
            await asyncio.sleep(0)
            other.release()
            later = await calls.one()
            assert later in await other.processes()
            assert await calls.statuses() == ["Busy", "Busy"]
            calls.release()
            assert [(await call).status for call in begun] == [200, 200]
            await stopping
            assert await calls.statuses() == []


@pytest.mark.parametrize("status", ["Busy", "Starting"])
async def test_the_end_without_drain_ends_calls_and_starts(tmp_path: Path, status: str) -> None:
    driver = _SlowDriver()
    driver.may_start.set()
    async with running(tmp_path, driver=driver) as calls:
        if status == "Starting":
            driver.may_start.clear()
        begun = calls.begin(2)
        await calls.until_statuses(status, status)
        await calls.fleet.stop(drain_s=0)
        for call in begun:
            with pytest.raises(ContainerGoneError):
                await call
        assert await calls.statuses() == []
        with pytest.raises(ContainerGoneError, match="have been stopped"):
            await calls.one()
