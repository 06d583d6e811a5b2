"""A seccomp filter: system calls that no model needs fail with EPERM (seccomp(2); kernel: seccomp_filter.rst).

It looks at numbers only, where it can: then the kernel knows beforehand which calls pass, and they cost nothing (Linux
5.11). Docker's default profile denies most of these as well; here they are denied everywhere.
"""

import ctypes
import platform
import struct
from collections.abc import Iterator

from polyhost.container.isolation.kernel import system_call

# By name: the numbers on x86_64 and on aarch64, None where there is no such call.
_DENIED: dict[str, tuple[int, int | None]] = {
    # other processes' memory and descriptors
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # the kernel itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
    # keys
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # mounts, namespaces, files past their paths
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "unshare": (272, 97),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    # the machine
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
}
_PRLIMIT = (302, 261)
_SETPRIORITY, _IOPRIO_SET = (141, 140), (251, 30)
_CLONE, _CLONE3 = (56, 220), 435
_SECCOMP = (317, 277)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH_*

_CLONE_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_PRIO_USER, _IOPRIO_WHO_USER = 2, 3

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
# Without it, kernels before 5.16 also switch off speculation for the process, which makes it slower.
_FILTER_FLAG_SPEC_ALLOW = 4
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|..|K, BPF_RET|K
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32_BIT = 0x40000000  # numbers of the x32 ABI, on x86_64

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def is_supported() -> bool:
    """Return whether the kernel takes filters, on an architecture whose numbers are known."""
    if platform.machine() not in _ARCHITECTURES:
        return False
    try:
        action = ctypes.create_string_buffer(struct.pack("I", _ERRNO), 4)
        system_call(_number(_SECCOMP), _GET_ACTION_AVAIL, 0, action)
    except OSError:
        return False
    return True


def program(pid: int) -> bytes:
    """Return the filter for the process with this pid: it may set its own limits and priority, but no other's."""
    return b"".join(struct.pack("HBBI", *instruction) for instruction in _instructions(pid))


def install(filter_program: bytes) -> None:
    """Install a filter in this thread, for good, and what it will start; needs no_new_privs. Raises OSError."""
    instructions = ctypes.create_string_buffer(filter_program, len(filter_program))
    description = struct.pack("HxxxxxxP", len(filter_program) // 8, ctypes.addressof(instructions))
    buffer = ctypes.create_string_buffer(description, len(description))
    system_call(_number(_SECCOMP), _SET_MODE_FILTER, _FILTER_FLAG_SPEC_ALLOW, buffer)


def _column() -> int:
    return _ARCHITECTURES[platform.machine()][0]


def _number(numbers: tuple[int, int | None]) -> int:
    number = numbers[_column()]
    assert number is not None
    return number


def _instructions(pid: int) -> Iterator[Instruction]:
    """Yield the filter. A jump counts the instructions that it skips."""
    column, architecture = _ARCHITECTURES[platform.machine()]
    deny, allow = (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)
    yield (_LOAD, 0, 0, _ARCHITECTURE)
    yield (_EQUAL, 1, 0, architecture)
    yield deny  # another architecture's calls (32 bits) have other numbers
    yield (_LOAD, 0, 0, _NUMBER)
    if column == 0:
        yield (_AT_LEAST, 0, 1, _X32_BIT)
        yield deny
    for numbers in _DENIED.values():
        if numbers[column] is not None:
            yield (_EQUAL, 0, 1, numbers[column] or 0)
            yield deny
    # glibc then falls back to clone, whose flags can be seen; Docker's profile does the same.
    yield (_EQUAL, 0, 1, _CLONE3)
    yield (_RETURN, 0, 0, _ERRNO | _ENOSYS)
    yield from _for_call(_number(_CLONE), [_argument(0), (_ANY_BIT, 0, 1, _CLONE_NEW_NAMESPACES), deny, allow])
    yield from _for_call(_number(_PRLIMIT), _own_limits(pid, deny, allow))
    yield from _for_call(_number(_SETPRIORITY), _own_priority(pid, _PRIO_USER, deny, allow))
    yield from _for_call(_number(_IOPRIO_SET), _own_priority(pid, _IOPRIO_WHO_USER, deny, allow))
    yield allow


def _own_limits(pid: int, deny: Instruction, allow: Instruction) -> list[Instruction]:
    """Allow prlimit(pid, resource, new, old) for this process, and with no new limit for any."""
    return [
        _argument(0),
        (_EQUAL, 6, 0, 0),
        (_EQUAL, 5, 0, pid),
        _argument(2),
        (_EQUAL, 0, 2, 0),
        _argument(2, high=True),
        (_EQUAL, 1, 0, 0),
        deny,
        allow,
    ]


def _own_priority(pid: int, user: int, deny: Instruction, allow: Instruction) -> list[Instruction]:
    """Allow setpriority(which, who, ...) and ioprio_set for this process; `user`: which means all of a user's."""
    return [
        _argument(0),
        (_EQUAL, 3, 0, user),
        _argument(1),
        (_EQUAL, 2, 0, 0),
        (_EQUAL, 1, 0, pid),
        deny,
        allow,
    ]


def _argument(index: int, high: bool = False) -> Instruction:
    """Load 32 bits of an argument; both architectures are little-endian."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4 * high)


def _for_call(number: int, body: list[Instruction]) -> Iterator[Instruction]:
    """Yield the body, which returns in any case, for one system call; the number is loaded."""
    yield (_EQUAL, 0, len(body), number)
    yield from body
