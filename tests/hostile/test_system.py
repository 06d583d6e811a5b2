"""The system below the container: network packets, devices, namespaces, the kernel."""

from tests.hostile.scene import Attacked, Denied, Scene

DENIED = Denied("PermissionError")


def test_packets_of_the_loopback_interface(scene: Attacked) -> None:
    """They hold the requests of all models."""

    def listen() -> str:
        import socket

        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)):
            return "listening"

    assert scene.attack(listen) == DENIED


def test_device_nodes(scene: Attacked) -> None:
    def make() -> str:
        import os
        import stat
        import tempfile
        from pathlib import Path

        disk = Path(tempfile.gettempdir(), "disk")  # other folders may be on a read-only file system
        os.mknod(disk, 0o600 | stat.S_IFBLK, os.makedev(8, 0))
        return "made"

    assert scene.attack(make) == DENIED


def test_namespaces_and_mounts(scene: Attacked) -> None:
    def unshare() -> list[int]:
        import ctypes
        import os
        import signal

        libc = ctypes.CDLL(None, use_errno=True)
        errors = []
        for flag in (0x00020000, 0x10000000, 0x40000000):  # CLONE_NEWNS, NEWUSER, NEWNET
            status = libc.unshare(flag)
            errors.append(0 if status == 0 else ctypes.get_errno())
            pid = libc.syscall(56, flag | signal.SIGCHLD, 0, 0, 0, 0)  # clone, which NEWUSER needs no privilege for
            if pid == 0:
                os._exit(0)
            errors.append(0 if pid > 0 else ctypes.get_errno())
        status = libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)
        errors.append(0 if status == 0 else ctypes.get_errno())
        return errors

    assert scene.attack(unshare) == [1] * 7  # EPERM


def test_settings_of_the_kernel(scene: Attacked) -> None:
    def read_kernel_log() -> str:
        import ctypes
        import os

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.klogctl(10, None, 0) == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return "read"

    assert scene.attack(read_kernel_log) == DENIED


def test_what_a_program_that_the_model_starts_may_do(scene: Scene) -> None:
    """An exec gives nothing back, as root neither."""

    def start(path: str) -> list[str]:
        import subprocess
        import sys

        code = (
            "import os, socket, sys\n"
            "for attack in (lambda: open(sys.argv[1]), lambda: os.kill(int(sys.argv[2]), 0),\n"
            "               lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)):\n"
            "    try:\n        attack()\n        print('reached')\n"
            "    except OSError as error:\n        print(type(error).__name__)\n"
        )
        command = [sys.executable, "-c", code, path, "1"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert scene.attack(start, path=str(scene.victim_folder / "weights.txt")) == ["PermissionError"] * 3
