"""Runs a container's entry point as on another machine: a kernel without Landlock, or with fewer capabilities.

python tests/support/other_machine.py [--no-landlock] [--capabilities=none|docker] ENTRY_POINT serve
"""

import argparse
import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from polyhost.container.isolation import kernel, seccomp

SCRIPT = Path(__file__)

_PR_CAPBSET_DROP = 24
_LANDLOCK_CREATE_RULESET = 444
_ENOSYS = 38
# Docker's default set, by number: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
# NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
_CAPABILITIES = {"none": frozenset[int](), "docker": frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})}


def main(arguments: Sequence[str]) -> None:
    """Change this process as the options say, then become the entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-landlock", action="store_true")
    parser.add_argument("--capabilities", choices=list(_CAPABILITIES))
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if options.capabilities and os.geteuid() == 0:
        _keep_capabilities(_CAPABILITIES[options.capabilities])
    if options.no_landlock:
        kernel.set_no_new_privileges()
        seccomp.install(_without_landlock())
    os.execv(sys.executable, [sys.executable, *options.command])


def _keep_capabilities(kept: frozenset[int]) -> None:
    """Drop all others from the bounding set: at the next exec, root has what is left of it (capabilities(7))."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if number not in kept and ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) == -1:
            raise OSError(f"capability {number} cannot be dropped")


def _without_landlock() -> bytes:
    """Return a seccomp filter by which there is no such system call, as in a kernel without Landlock."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    instructions = [
        (load, 0, 0, 0),
        (equal, 0, 1, _LANDLOCK_CREATE_RULESET),
        (give, 0, 0, 0x00050000 | _ENOSYS),  # SECCOMP_RET_ERRNO
        (give, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


if __name__ == "__main__":
    main(sys.argv[1:])
