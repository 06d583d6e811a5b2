"""How a function's runtime is started: AWS's own client of the runtime interface, and the variables it expects."""

import asyncio
import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from polyhost.aws_environ import container_environ
from polyhost.emulator.functions.environment_place import EnvironmentPlace
from polyhost.emulator.functions.errors import InvalidRuntime
from polyhost.emulator.functions.runtime_process import RuntimeLinks
from polyhost.emulator.functions.sandbox import Sandbox, SandboxProcess
from polyhost.emulator.functions.spec import FunctionSpec

_INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


def check_runtime(spec: FunctionSpec, runs_images: bool) -> None:
    """Raise InvalidRuntime for a function that the emulator cannot run."""
    if spec.image is not None:
        if not runs_images:
            raise InvalidRuntime(
                f"{spec.name} has PackageType Image, and the process driver runs no images; start the emulator with"
                " --driver docker."
            )
        return
    if not spec.runtime.startswith("python3."):
        raise InvalidRuntime(
            f"The emulator runs functions of Python only; {spec.name} has the runtime {spec.runtime or 'none'}."
        )
    if not _has_client():
        raise InvalidRuntime(
            "The emulator runs functions with awslambdaric; install it: pip install 'polyhost[lambda]'."
        )


@cache
def _has_client() -> bool:
    return find_spec("awslambdaric") is not None


def runtime_environ(spec: FunctionSpec, place: EnvironmentPlace, links: RuntimeLinks) -> dict[str, str]:
    """Return the variables that all functions have (developer guide, configuration-envvars), their own among them."""
    reserved = {
        "TZ": ":UTC",
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": links.log_stream,
        "AWS_LAMBDA_RUNTIME_API": links.api_address,
    }
    return container_environ(place.aws_url, spec.region) | dict(spec.variables) | reserved


class ZipStarter:
    """Runs a function's code, unpacked, with its layers, in a process of this machine."""

    def __init__(self, code: Path, layers: tuple[Path, ...]) -> None:
        self._code = code
        self._layers = layers

    async def start(self, spec: FunctionSpec, place: EnvironmentPlace, links: RuntimeLinks) -> SandboxProcess:
        """Start it. Raises OSError."""
        temp = place.folder / "tmp"
        await asyncio.to_thread(temp.mkdir, 0o1777, parents=True, exist_ok=True)
        sandbox = Sandbox(place.name, self._code, temp, spec.memory_mb << 20)
        # -P: nothing comes before the function's own code, which PYTHONPATH names first, but the standard library.
        command = [sys.executable, "-P", "-m", "awslambdaric", spec.handler]
        return await SandboxProcess.start(command, sandbox, self._environ(spec, place, links), links.output)

    def _environ(self, spec: FunctionSpec, place: EnvironmentPlace, links: RuntimeLinks) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # As on Lambda: the code, then the layers (developer guide, python-layers). Other packages are the emulator's.
        paths = [self._code, *(layer / "python" for layer in self._layers)]
        reserved = {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",  # the code is read-only
            "_HANDLER": spec.handler,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "LAMBDA_TASK_ROOT": str(self._code),
            "LAMBDA_RUNTIME_DIR": str(self._code),
        }
        defaults = {"LANG": "en_US.UTF-8", "HOME": "/tmp"}  # noqa: S108 - its own /tmp
        return inherited | defaults | runtime_environ(spec, place, links) | reserved
