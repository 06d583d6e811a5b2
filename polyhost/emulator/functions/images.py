"""Functions' container images: those of the local Docker engine."""

import asyncio
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.functions.environment_place import EnvironmentPlace
from polyhost.emulator.functions.errors import InvalidRuntime
from polyhost.emulator.functions.image_container import ImageContainer
from polyhost.emulator.functions.runtime import runtime_environ
from polyhost.emulator.functions.runtime_process import RuntimeLinks
from polyhost.emulator.functions.spec import FunctionSpec, ImageSpec
from polyhost.emulator.hosting.drivers.docker import OWNER_LABEL, DockerDriver
from polyhost.emulator.hosting.drivers.docker_command import make_container, remove_container
from polyhost.emulator.hosting.drivers.engine import Engine
from polyhost.emulator.hosting.interfaces import Driver

IMAGES = "polyhost.function-images"  # the environ's key for FunctionImages, if the driver runs images
FUNCTION_LABEL = "polyhost.function"  # its value is the function's name
# Lambda's user, whatever the image's own is: it can read what everyone can.
_USER = "993:990"


@dataclass(frozen=True)
class FunctionImage:
    """An image of the engine. Its id stays the same when its names are given to another image."""

    id: str
    entry_point: tuple[str, ...]
    command: tuple[str, ...]

    @classmethod
    def read(cls, inspected: Mapping[str, Any]) -> Self:
        """Read what `docker image inspect` says of it."""
        config = inspected.get("Config") or {}
        return cls(str(inspected["Id"]), tuple(config.get("Entrypoint") or ()), tuple(config.get("Cmd") or ()))


class FunctionImages:
    """Finds images and runs functions of them. Its methods block; any thread may call them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def of(cls, driver: Driver) -> Self | None:
        """Return those of the driver's engine, or None if it runs no images."""
        return cls(driver.engine) if isinstance(driver, DockerDriver) else None

    def find(self, name: str) -> FunctionImage | None:
        """Return the image of this name or id, or None if the engine has none; none is pulled."""
        command = ["docker", "image", "inspect", "--", name]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True)
        return FunctionImage.read(json.loads(done.stdout)[0]) if done.returncode == 0 else None

    def starter(self, function: str, spec: ImageSpec) -> "ImageStarter":
        """Return what runs the image: the one that the name had when the code was set, as long as the engine has it.

        Raises InvalidRuntime.
        """
        image = self.find(spec.id) or self.find(spec.uri)
        if image is None:
            raise InvalidRuntime(
                f"The engine has no image {spec.uri} any more, which {function} is; build it again, or pull it."
            )
        return ImageStarter(image, self._engine)


class ImageStarter:
    """Runs a function's image in a container that gets what Lambda gives one: /tmp to write to, and no rights."""

    def __init__(self, image: FunctionImage, engine: Engine) -> None:
        self._image = image
        self._engine = engine

    async def start(self, spec: FunctionSpec, place: EnvironmentPlace, links: RuntimeLinks) -> ImageContainer:
        """Start it. Raises ContainerError and OSError."""
        assert spec.image is not None
        words = [*(spec.image.entry_point or self._image.entry_point), *(spec.image.command or self._image.command)]
        if not words:
            raise ContainerError(f"{spec.image.uri} has neither an ENTRYPOINT nor a CMD; give one by ImageConfig")
        options = [*self._options(spec, place), f"--entrypoint={words[0]}"]
        options += [f"--env={name}={value}" for name, value in runtime_environ(spec, place, links).items()]
        if spec.image.working_directory:
            options.append(f"--workdir={spec.image.working_directory}")
        await make_container("create", place.name, self._image.id, options, words[1:])
        try:
            return await ImageContainer.start(place.name, self._engine, links.output)
        except BaseException:
            await asyncio.shield(remove_container(place.name))
            raise

    @staticmethod
    def _options(spec: FunctionSpec, place: EnvironmentPlace) -> list[str]:
        return [
            f"--label={OWNER_LABEL}={place.owner}",
            f"--label={FUNCTION_LABEL}={spec.name}",
            # The runtime interface and the emulator are on this machine's loopback.
            "--network=host",
            f"--memory={spec.memory_mb}m",
            f"--user={_USER}",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--read-only",
            "--volume=/tmp",  # removed with the container; in memory it would count as the function's
            "--stop-signal=KILL",  # some engines ask before they kill, when a container is removed by force
        ]
