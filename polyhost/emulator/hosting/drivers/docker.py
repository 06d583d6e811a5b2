"""Containers of the local Docker engine, through the `docker` command."""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from polyhost.emulator.errors import ImageError, StartError
from polyhost.emulator.hosting.drivers.docker_command import docker, make_container, remove_container
from polyhost.emulator.hosting.drivers.engine import Engine
from polyhost.emulator.hosting.drivers.output import each_line
from polyhost.emulator.hosting.interfaces import Container, Launch, ResourceUsage
from polyhost.processes import free_port

MULTI_MODEL_LABEL = "com.amazonaws.sagemaker.capabilities.multi-models"
BIND_TO_PORT_LABEL = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
OWNER_LABEL = "polyhost.emulator"  # its value is the name of the emulator's run directory
_PORT = 8080
# Of a container among others. They share a network on SageMaker, so an image that heeds no such port fails there too.
_OWN_PORT = 14000
_SAFE_PORTS = "23000-23999"


class DockerDriver:
    """Starts containers of images that the local engine has; it pulls none."""

    limits_together = False

    def __init__(self) -> None:
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine; `open` has connected to it."""
        assert self._engine is not None
        return self._engine

    async def open(self) -> None:
        """Connect to the engine. Raises StartError if none answers."""
        if not shutil.which("docker"):
            raise StartError("the docker driver needs the command 'docker'; install it, or use --driver process")
        status, _, error = await docker("version")
        if status:
            raise StartError(f"no Docker engine answers ({error.strip()[-200:]}); start it, or use --driver process")
        _, address, _ = await docker("context", "inspect", "--format={{.Endpoints.docker.Host}}")
        self._engine = Engine(address.strip())

    async def check(self, image: str, multi_model: bool, among_others: bool = False) -> str:
        status, output, _ = await docker("image", "inspect", image)
        if status:
            raise ImageError(f"Requested image {image} not found.")
        found: dict[str, Any] = json.loads(output)[0]
        labels = (found.get("Config") or {}).get("Labels") or {}
        for label, needed in ((MULTI_MODEL_LABEL, multi_model), (BIND_TO_PORT_LABEL, among_others)):
            if needed and labels.get(label) != "true":
                raise ImageError(f"Your Ecr Image {image} does not contain required {label}=true Docker label(s).")
        return str(found["Id"])

    async def start(self, launch: Launch) -> Container:
        inside = "models" if launch.multi_model else "model"
        port = free_port()
        inner_port = _OWN_PORT if launch.shared_with else _PORT
        settings = dict(launch.environment) | ({"SAGEMAKER_MULTI_MODEL": "true"} if launch.multi_model else {})
        if launch.shared_with:
            settings |= {"SAGEMAKER_BIND_TO_PORT": str(_OWN_PORT), "SAGEMAKER_SAFE_PORT_RANGE": _SAFE_PORTS}
        # A single model's folder is read-only for the container (developer guide, your-algorithms-inference-code).
        mount = f"{launch.folder / inside}:/opt/ml/{inside}" + ("" if launch.multi_model else ":ro")
        options = [
            "--detach",
            f"--label={OWNER_LABEL}={launch.owner}",
            *([f"--hostname={launch.hostname}"] if launch.hostname else []),
            f"--memory={launch.memory_bytes}",
            f"--publish=127.0.0.1:{port}:{inner_port}",
            f"--volume={mount}",
            *(f"--env={name}={value}" for name, value in settings.items()),
        ]
        identifier = await make_container("run", launch.name, launch.image, options, ["serve"])
        container = DockerContainer(identifier, f"http://127.0.0.1:{port}", self._engine)
        try:
            await container.follow(launch)
        except BaseException:
            await asyncio.shield(remove_container(launch.name))
            raise
        return container

    async def sweep(self, folder: Path) -> None:
        _, left, _ = await docker("ps", "--all", "--quiet", f"--filter=label={OWNER_LABEL}={folder.name}")
        if left.split():
            await docker("rm", "--force", "--volumes", *left.split())

    async def close(self) -> None:
        """Release the connection; containers are removed when they stop."""
        if self._engine is not None:
            await self._engine.close()


class DockerContainer:
    """A container that the engine runs."""

    models_folder = "/opt/ml/models"

    def __init__(self, identifier: str, url: str, engine: Engine | None) -> None:
        self.url = url
        self.pid: int | None = None
        self._id = identifier
        self._engine = engine
        self._logs: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None

    async def follow(self, launch: Launch) -> None:
        _, output, _ = await docker("inspect", "--format={{.State.Pid}}", self._id)
        self.pid = int(output.strip() or 0) or None
        self._logs = await asyncio.create_subprocess_exec(
            "docker",
            "logs",
            "--follow",
            self._id,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._logs.stdout is not None
        self._output = asyncio.create_task(each_line(self._logs.stdout, launch.on_line))

    async def wait(self) -> int:
        _, output, _ = await docker("wait", self._id)
        return int(output.strip() or 137)

    async def stop(self, grace_s: float) -> None:
        # In whole seconds, and always given, because engines differ in their default.
        await docker("stop", "-t", str(max(1, round(grace_s))), self._id)
        await docker("rm", "--force", "--volumes", self._id)
        if self._logs is not None and self._logs.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._logs.kill()
            await self._logs.wait()
        if self._output is not None:
            self._output.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._output

    async def kill(self) -> None:
        await docker("kill", self._id)

    async def usage(self) -> ResourceUsage | None:
        return await self._engine.usage(self._id, self.pid) if self._engine is not None else None
