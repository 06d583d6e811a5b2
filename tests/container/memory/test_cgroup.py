"""How much memory is left: control groups of both versions as real folders of files."""

from pathlib import Path

import pytest

from polyhost.container.memory.cgroup import ControlGroup, MemoryGauge, MemoryState, OomKills

MB = 1024 * 1024
V1, V2 = "5:cpu,cpuacct:/\n4:memory:/docker/abc\n1:name=systemd:/\n", "0::/docker/abc\n"


def write(folder: Path, **files: object) -> Path:
    """`memory_max=1` writes 1 to memory.max."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("memory_", "memory.")).write_text(f"{text}\n")
    return folder


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    return tmp_path / "membership"


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:        4096000 kB\nMemFree:  1 kB\nMemAvailable:    2048000 kB\nHugePages_Total:  0\n")
    return path


def version_2(folder: Path, limit: object = 100 * MB) -> Path:
    stat = f"anon {20 * MB}\ninactive_file {10 * MB}\nactive_file 5"
    events = "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2"
    return write(folder, memory_max=limit, memory_current=40 * MB, memory_stat=stat, memory_events=events)


def version_1(folder: Path, limit: object = 100 * MB) -> Path:
    stat = f"inactive_file 1\ntotal_inactive_file {10 * MB}"
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill 2"
    return write(
        folder, memory_limit_in_bytes=limit, memory_usage_in_bytes=40 * MB, memory_stat=stat, memory_oom_control=control
    )


@pytest.mark.parametrize("below", ["", "docker/abc"], ids=["inside a container", "outside"])
@pytest.mark.parametrize(
    ("make", "mount", "member"), [(version_2, "", V2), (version_1, "memory", V1)], ids=["version 2", "version 1"]
)
def test_limit_use_and_kills(
    tmp_path: Path, membership: Path, make: object, mount: str, member: str, below: str
) -> None:
    make(tmp_path / mount / below)  # type: ignore[operator]
    membership.write_text(member)

    group = ControlGroup.find(tmp_path, membership)

    assert group is not None
    assert (group.limit(), group.used(), group.oom_kills()) == (100 * MB, 30 * MB, 2)


def test_both_versions_mounted_the_one_with_the_controller_counts(tmp_path: Path, membership: Path) -> None:
    version_1(tmp_path / "memory" / "docker/abc", 64 * MB)
    membership.write_text(V1 + V2)

    group = ControlGroup.find(tmp_path, membership)

    assert group is not None and group.limit() == 64 * MB


@pytest.mark.parametrize(("make", "mount", "member", "limit"), [
    (version_2, "", V2, "max"), (version_1, "memory", V1, 9223372036854771712),
])  # fmt: skip
def test_no_limit(tmp_path: Path, membership: Path, make: object, mount: str, member: str, limit: object) -> None:
    make(tmp_path / mount, limit)  # type: ignore[operator]
    membership.write_text(member)

    group = ControlGroup.find(tmp_path, membership)

    assert group is not None and group.limit() is None


def test_without_a_control_group(tmp_path: Path, membership: Path, meminfo: Path) -> None:
    assert ControlGroup.find(tmp_path, membership) is None  # no /proc/self/cgroup
    membership.write_text(V2)
    assert ControlGroup.find(tmp_path, membership) is None  # no memory controller
    assert MemoryGauge(None, meminfo=meminfo).oom_kills() == 0


def test_files_that_cannot_be_read_count_as_no_limit_and_no_kills(tmp_path: Path) -> None:
    group = ControlGroup(tmp_path, 2)

    assert (group.limit(), group.used(), group.oom_kills()) == (None, 0, 0)


def test_the_smallest_limit_and_the_smallest_room_count(tmp_path: Path, meminfo: Path) -> None:
    machine = MemoryGauge(None, meminfo=meminfo).read()
    group = MemoryGauge(ControlGroup(version_2(tmp_path), 2), meminfo=meminfo).read()

    assert machine == MemoryState(4096000 * 1024, 2048000 * 1024)
    assert group == MemoryState(100 * MB, 70 * MB)


def test_a_group_that_uses_more_than_its_limit_leaves_nothing(tmp_path: Path, meminfo: Path) -> None:
    assert MemoryGauge(ControlGroup(version_2(tmp_path, 20 * MB), 2), meminfo=meminfo).read().available == 0


def test_this_machine_can_be_read() -> None:
    state = MemoryGauge(ControlGroup.find()).read()

    assert 0 < state.available <= state.limit


def test_each_kill_is_one_death_and_an_old_one_nobodys() -> None:
    count = 3
    kills = OomKills(lambda: count)
    assert not kills.claim()

    count = 5
    assert [kills.claim(), kills.claim(), kills.claim()] == [True, True, False]

    count = 6
    kills.forget_old()
    assert kills.claim()
    count = 7
    kills.forget_old()
    kills.forget_old()
    assert not kills.claim()
