"""A model that takes as much as it can of something for as long as its request says: `descriptors 5.0`."""

import mmap
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

DESCRIPTORS = 20_000
PROCESSES = 300
MEMORY = SHARED_MEMORY = 512 << 20  # bytes: enough to keep the kernel busy, and less than a machine has


def model_fn(model_dir: str) -> None:
    return None


def transform_fn(model: None, body: str | bytes, content_type: str, accept: str) -> tuple[str, str]:
    name, seconds = str(body, "utf-8").split() if isinstance(body, bytes) else body.split()
    end = time.monotonic() + float(seconds)
    rounds = 0
    while time.monotonic() < end:
        ATTACKS[name]()
        rounds += 1
    return str(rounds), "text/plain"


def take_descriptors() -> None:
    held = [os.open("/dev/null", os.O_RDONLY)]
    with suppress(OSError):
        while len(held) < DESCRIPTORS:
            held.append(os.dup(held[0]))
    for descriptor in held:
        os.close(descriptor)


def take_processes() -> None:
    children: list[int] = []
    with suppress(OSError):
        while len(children) < PROCESSES:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


def take_memory() -> None:
    with mmap.mmap(-1, MEMORY) as memory:
        for offset in range(0, MEMORY, mmap.PAGESIZE):
            memory[offset] = 1


def take_shared_memory() -> None:
    path = Path("/dev/shm", f"polyhost-bench-{os.getpid()}")
    block = bytes(1 << 20)
    try:
        with path.open("wb") as file, suppress(OSError):
            for _ in range(0, SHARED_MEMORY, len(block)):
                file.write(block)
    finally:
        path.unlink()


ATTACKS: dict[str, Callable[[], None]] = {
    "descriptors": take_descriptors,
    "processes": take_processes,
    "memory": take_memory,
    "shared-memory": take_shared_memory,
}
