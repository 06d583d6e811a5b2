"""What all processes of a server use: unlike times, it hardly changes with what else runs on the machine."""

import os
import re
from pathlib import Path

from benchmarks.peers.server import PeerServer
from polyhost.processes import proportional_bytes

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def memory_mb(server: PeerServer) -> float:
    """Return what the processes hold: their share of each page (PSS), and their page tables."""
    return sum(proportional_bytes(pid) + _page_table_bytes(pid) for pid in server.process.processes()) / 1e6


def cpu_ms(server: PeerServer) -> float:
    """Return the CPU time that the processes which run, and children that ended, have used, in steps of 10 ms each."""
    return sum(map(_ticks, server.process.processes())) * 1000 / _TICKS_PER_S


def _page_table_bytes(pid: int) -> int:
    try:
        found = re.search(r"^VmPTE:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0  # it has ended
    return int(found[1]) * 1024 if found else 0


def _ticks(pid: int) -> int:
    """Return utime, stime, cutime and cstime of proc(5), stat; the name before them may contain spaces."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))
