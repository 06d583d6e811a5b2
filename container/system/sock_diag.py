"""The kernel's view of one TCP connection's other end, if that is on this machine (sock_diag(7))."""

import errno
import os
import socket
import struct
from typing import NamedTuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_ALL_STATES = _NO_COOKIE = 0xFFFFFFFF
_CGROUP_ID = 21  # INET_DIAG_CGROUP_ID, since Linux 5.8
_HEAD = struct.Struct("=IHHII")  # nlmsghdr
_REQUEST = struct.Struct("=BBBBI")  # inet_diag_req_v2, before its inet_diag_sockid
_PORTS = struct.Struct("!HH")
_REST_OF_ID = struct.Struct("=III")  # the interface, and a cookie
_USER_AT, _ATTRIBUTES_AT = _HEAD.size + 64, _HEAD.size + 72  # user and inode: behind inet_diag_msg's other fields
_TIMEOUT_S = 1.0

Address = tuple[str, int]


class LocalSocket(NamedTuple):
    """A socket in this process's network namespace."""

    inode: int  # 0: no process has it any more
    user: int
    cgroup: int | None  # of cgroup version 2, by id, of the process that made it; None before Linux 5.8


def find_tcp(local: Address, remote: Address) -> LocalSocket | None:
    """Return the IPv4 socket with these addresses, or None without one. Raises OSError if the kernel cannot tell."""
    request = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ALL_STATES)
    addresses = b"".join(socket.inet_aton(host).ljust(16, b"\0") for host, _ in (local, remote))
    ports = _PORTS.pack(local[1], remote[1])
    body = request + ports + addresses + _REST_OF_ID.pack(0, _NO_COOKIE, _NO_COOKIE)
    message = _HEAD.pack(_HEAD.size + len(body), _SOCK_DIAG_BY_FAMILY, 1, 1, 0) + body  # NLM_F_REQUEST
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_TIMEOUT_S)
        kernel.send(message)
        return _parse(kernel.recv(8192))


def _parse(data: bytes) -> LocalSocket | None:
    length, kind, *_ = _HEAD.unpack_from(data)
    if kind == _NLMSG_ERROR:
        code = -struct.unpack_from("=i", data, _HEAD.size)[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    user, inode = struct.unpack_from("=II", data, _USER_AT)
    return LocalSocket(inode, user, _cgroup_of(data[_ATTRIBUTES_AT:length]))


def _cgroup_of(attributes: bytes) -> int | None:
    while len(attributes) >= 4:
        size, kind = struct.unpack_from("=HH", attributes)
        if kind == _CGROUP_ID:
            return int(struct.unpack_from("=Q", attributes, 4)[0])
        attributes = attributes[max(4, (size + 3) & ~3) :]
    return None


def is_own_address(host: str) -> bool:
    """Return whether the IPv4 address is one of this machine's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
        return True
