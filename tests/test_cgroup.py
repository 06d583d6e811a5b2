"""Control groups of both versions as real folders of files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyhost.cgroup import MOUNT, ControlGroup, memory_root, usable_processors

MB = 1024 * 1024
V1, V2 = "5:cpu,cpuacct:/\n4:memory:/docker/abc\n1:name=systemd:/\n", "0::/docker/abc\n"


def write(folder: Path, **files: object) -> Path:
    """Write files: `memory_max=1` writes 1 to memory.max."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("memory_", "memory.")).write_text(f"{text}\n")
    return folder


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    return tmp_path / "membership"


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
def test_reads_limit_usage_and_kills(
    tmp_path: Path, membership: Path, make: object, mount: str, member: str, below: str
) -> None:
    make(tmp_path / mount / below)  # type: ignore[operator]
    membership.write_text(member)

    group = ControlGroup.current(tmp_path, membership)

    assert group is not None
    assert (group.limit(), group.used(), group.page_cache(), group.oom_kills()) == (100 * MB, 30 * MB, 10 * MB, 2)


def test_version_with_the_memory_controller_wins_where_both_are_mounted(tmp_path: Path, membership: Path) -> None:
    version_1(tmp_path / "memory" / "docker/abc", 64 * MB)
    membership.write_text(V1 + V2)

    group = ControlGroup.current(tmp_path, membership)

    assert group is not None and group.limit() == 64 * MB


@pytest.mark.parametrize(("make", "mount", "member", "limit"), [
    (version_2, "", V2, "max"), (version_1, "memory", V1, 9223372036854771712),
])  # fmt: skip
def test_no_limit(tmp_path: Path, membership: Path, make: object, mount: str, member: str, limit: object) -> None:
    make(tmp_path / mount, limit)  # type: ignore[operator]
    membership.write_text(member)

    group = ControlGroup.current(tmp_path, membership)

    assert group is not None and group.limit() is None


def test_no_control_group(tmp_path: Path, membership: Path) -> None:
    assert ControlGroup.current(tmp_path, membership) is None  # no /proc/self/cgroup
    membership.write_text(V2)
    assert ControlGroup.current(tmp_path, membership) is None  # no memory controller


def test_unreadable_files_mean_no_limit_and_no_kills(tmp_path: Path) -> None:
    group = ControlGroup(tmp_path, 2)

    assert (group.limit(), group.used(), group.oom_kills()) == (None, 0, 0)


def test_group_of_a_process_is_found_below_the_mount_only(tmp_path: Path) -> None:
    assert ControlGroup.of(os.getpid(), tmp_path) is None
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            version_2(tmp_path / path.lstrip("/"))
        elif "memory" in controllers.split(","):
            version_1(tmp_path / "memory" / path.lstrip("/"))

    group = ControlGroup.of(os.getpid(), tmp_path)

    assert group is not None and group.used() == 30 * MB


def test_set_limit_writes_the_file_of_the_version(tmp_path: Path) -> None:
    for version, make in ((1, version_1), (2, version_2)):
        group = ControlGroup(make(tmp_path / str(version)), version)
        group.set_limit(7 * MB)
        assert group.limit() == 7 * MB


def test_memory_root_by_version(tmp_path: Path) -> None:
    assert memory_root(tmp_path) == (tmp_path / "memory", 1)
    (tmp_path / "cgroup.controllers").touch()
    assert memory_root(tmp_path) == (tmp_path, 2)


HALF = 50_000
CPU_V1 = "3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n"


@pytest.fixture
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def limit_v1(folder: Path, quota: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")


def limit_v2(folder: Path, quota: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{quota} 100000\n")


VERSIONS = pytest.mark.parametrize(
    ("limit", "mount", "member", "unlimited"),
    [(limit_v2, "", V2, "max"), (limit_v1, "cpu", CPU_V1, -1)],
    ids=["version 2", "version 1"],
)


@VERSIONS
@pytest.mark.usefixtures("eight_processors")
def test_processor_time_counts_rounded_up(
    tmp_path: Path, membership: Path, limit: object, mount: str, member: str, unlimited: object
) -> None:
    membership.write_text(member)
    assert usable_processors(tmp_path, membership) == 8  # no file
    for quota, count in ((unlimited, 8), (1, 1), (HALF, 1), (2 * HALF, 1), (3 * HALF, 2), (20 * HALF, 8)):
        limit(tmp_path / mount / "docker/abc", quota)  # type: ignore[operator]
        assert usable_processors(tmp_path, membership) == count


@VERSIONS
@pytest.mark.usefixtures("eight_processors")
def test_the_groups_above_limit_it_as_well(
    tmp_path: Path, membership: Path, limit: object, mount: str, member: str, unlimited: object
) -> None:
    """Inside a container the root of the mount is the container's own group."""
    membership.write_text(member)
    limit(tmp_path / mount / "docker/abc", unlimited)  # type: ignore[operator]
    limit(tmp_path / mount / "docker", 10 * HALF)  # type: ignore[operator]
    assert usable_processors(tmp_path, membership) == 5
    limit(tmp_path / mount, 4 * HALF)  # type: ignore[operator]
    assert usable_processors(tmp_path, membership) == 2


@pytest.mark.usefixtures("eight_processors")
def test_processors_without_control_groups(tmp_path: Path, membership: Path) -> None:
    assert usable_processors(tmp_path, membership) == 8


def test_a_real_group_with_half_a_processor_has_one() -> None:
    with half_a_processor() as group:
        code = "import os, sys; from polyhost.cgroup import usable_processors\n"
        code += "open(sys.argv[1], 'w').write(str(os.getpid())); print(usable_processors())"
        command = [sys.executable, "-c", code, str(group / "cgroup.procs")]
        assert subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout == "1\n"


@contextmanager
def half_a_processor() -> Iterator[Path]:
    """Make a group below the root of the kernel's control groups. Skip the test where that is not allowed."""
    version_2 = (MOUNT / "cgroup.controllers").exists()
    group = (MOUNT if version_2 else MOUNT / "cpu") / f"polyhost-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        try:
            if version_2:
                (group / "cpu.max").write_text(f"{HALF} 100000")
            else:
                (group / "cpu.cfs_quota_us").write_text(str(HALF))
        except OSError as error:
            pytest.skip(f"its processor time cannot be limited: {error}")
        yield group
    finally:
        group.rmdir()
