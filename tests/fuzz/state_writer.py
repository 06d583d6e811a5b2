"""Writes states as fast as it can and says what is safely written, until it is killed: `FOLDER emulator|memory`."""

import sys
from itertools import count
from pathlib import Path


def write_resources(folder: Path) -> None:
    from polyhost.emulator.api.control_plane.store import ResourceKind, ResourceStore

    store = ResourceStore(folder)
    for number in count(len(store.of_kind(ResourceKind.MODEL))):
        store.create("us-east-1", ResourceKind.MODEL, {"ModelName": f"m{number}", "x": "x" * 500})
        print(number, flush=True)


def write_estimates(folder: Path) -> None:
    from polyhost.container.memory.state_file import StateFile

    file = StateFile(folder / "estimates.json", int)
    values = file.read()
    for number in count(len(values)):
        values[f"m{number}"] = number
        file.changed = True
        file.save(lambda: values)
        print(number, flush=True)


if __name__ == "__main__":
    {"emulator": write_resources, "memory": write_estimates}[sys.argv[2]](Path(sys.argv[1]))
