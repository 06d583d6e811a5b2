"""Calls during which signals are handled at once."""

import subprocess
import sys

import pytest

from polyhost.container.system.interruptible import call_interruptibly

# Like a look-up of a name, C code that goes on after a signal.
STALLS = """
import ctypes, os, signal
from polyhost.container.system.interruptible import call_interruptibly

def exit_early(number, frame):
    raise SystemExit(7)

def stall():
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        ctypes.CDLL(None).sleep(1000)

signal.signal(signal.SIGTERM, exit_early)
call_interruptibly(stall)
"""


def test_result_and_error_are_the_functions() -> None:
    assert call_interruptibly(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        call_interruptibly(lambda: 1 // 0)


def test_a_signal_ends_a_call_that_is_stuck() -> None:
    assert subprocess.run([sys.executable, "-c", STALLS], timeout=60, check=False).returncode == 7
