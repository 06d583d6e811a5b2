"""Landlock: access to files, signals and abstract sockets that a process gives up for itself and its descendants.

Kernel: userspace-api/landlock.rst. What a ruleset handles is denied, except where a rule allows it: below a folder, or
for one file. Besides, a confined process has no access to the memory, environment and descriptors of processes
that are not confined by the same domain (ptrace(2), PTRACE_MODE).
"""

import ctypes
import os
import stat
import struct
from enum import IntFlag

from polyhost.container.isolation.kernel import system_call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on all architectures
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2

# The first ABI that can be used: without REFER (Linux 5.19) no file can be moved to another folder.
MIN_ABI = 2
ABI_TRUNCATE = 3  # Linux 6.2
ABI_SCOPES = 6  # Linux 6.12


class Access(IntFlag):
    """What a rule allows below a folder, in the kernel's numbers. Device nodes can be made nowhere."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14

    READ = EXECUTE | READ_FILE | READ_DIR
    MAKE = MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
    WRITE = READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE | REFER
    OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # the kernel rejects others in a rule for a file
    ALL = WRITE | MAKE_CHAR | MAKE_BLOCK


def abi() -> int:
    """Return the kernel's version of Landlock, 0 if it has none or it is switched off."""
    try:
        return system_call(_CREATE_RULESET, 0, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


class Ruleset:
    """Rules under construction. Owns a descriptor, which a fork shares: each process makes its own."""

    def __init__(self, version: int) -> None:
        """`version`: of Landlock (`abi`). Raises OSError."""
        handled = Access.ALL if version >= ABI_TRUNCATE else Access.ALL & ~Access.TRUNCATE
        attributes = struct.pack("QQQ", handled, 0, _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL)
        size = len(attributes) if version >= ABI_SCOPES else 8
        self._handled = handled
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        self._descriptor = system_call(_CREATE_RULESET, buffer, size, 0)

    def allow(self, place: int, access: int) -> None:
        """Allow access to a file, or below a folder, by its open descriptor. Raises OSError."""
        attributes = struct.pack("=Qi", access & self._handled, place)
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        system_call(_ADD_RULE, self._descriptor, _RULE_PATH_BENEATH, buffer, 0)

    def enter(self) -> None:
        """Confine this thread, and what it will start, for good; needs no_new_privs. Raises OSError."""
        system_call(_RESTRICT_SELF, self._descriptor, 0)

    def close(self) -> None:
        """Close the descriptor; what has been entered stays in force."""
        os.close(self._descriptor)


def open_place(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Open a file or folder for a rule; return the descriptor, and the accesses that such a rule may allow.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    return descriptor, Access.ALL if is_folder else Access.OF_FILES
