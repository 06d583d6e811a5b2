"""The `docker` command."""

import asyncio
from collections.abc import Sequence

from polyhost.emulator.errors import ContainerError


async def docker(*arguments: str) -> tuple[int, str, str]:
    """Run it; return its exit status and what it has printed to both streams."""
    process = await asyncio.create_subprocess_exec(
        "docker",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    output, error = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace"), error.decode(errors="replace")


async def make_container(command: str, name: str, image: str, options: Sequence[str], arguments: Sequence[str]) -> str:
    """Make a container by the command `create` or `run`; return its id.

    Raises ContainerError. If it does, or is cancelled, it leaves no container behind.
    """
    making = asyncio.create_task(docker(command, f"--name={name}", *options, image, *arguments))
    try:
        status, output, error = await asyncio.shield(making)
    except BaseException:
        await asyncio.shield(_undo(making, name))
        raise
    if status:
        await remove_container(name)
        raise ContainerError(f"docker {command} {image}: {error.strip()[-1000:]}")
    return output.split()[-1]


async def remove_container(name: str) -> None:
    """Kill and remove a container, with its volumes; there may be none."""
    await docker("rm", "--force", "--volumes", name)


async def _undo(making: "asyncio.Task[tuple[int, str, str]]", name: str) -> None:
    """Wait for the command, which goes on although its caller was cancelled, and remove the container."""
    await asyncio.wait({making})
    await remove_container(name)
