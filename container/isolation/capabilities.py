"""The capabilities of a root user's workers (capabilities(7)): fewer than Docker's default set, which has fourteen."""

import ctypes
import os
import struct

from polyhost.container.isolation.kernel import library

_VERSION_3 = 0x20080522
# Of files whatever their owner and mode, of changing users as daemons do, and of ports below 1024. Left out of Docker's
# set: NET_RAW reads everybody's packets, MKNOD makes devices, KILL and SYS_CHROOT reach others, SETPCAP, SETFCAP and
# AUDIT_WRITE nobody needs. With PERFMON or SYS_ADMIN a process reads others' environment past Landlock (Linux 6.15).
_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _SETGID, _SETUID, _NET_BIND_SERVICE = 0, 1, 3, 4, 6, 7, 10
_KEPT = sum(1 << item for item in (_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _SETGID, _SETUID, _NET_BIND_SERVICE))


def drop_capabilities() -> None:
    """Give up all capabilities that no model needs. With no_new_privs no program brings them back. Raises OSError."""
    header = struct.pack("Ii", _VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    _call("capget", header, data)
    low_kept = _KEPT & 0xFFFFFFFF
    # effective, permitted and inheritable of capabilities 0 to 31, then of 32 to 63
    low = [value & low_kept for value in struct.unpack("6I", data.raw)[:3]]
    _call("capset", header, ctypes.create_string_buffer(struct.pack("6I", *low, 0, 0, 0), 24))


def _call(name: str, header: bytes, data: "ctypes.Array[ctypes.c_char]") -> None:
    if library()[name](header, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
