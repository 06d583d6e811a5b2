"""How a function's runtime is started: AWS's own client of the runtime interface, and the variables it expects."""

import os
import sys
from functools import cache
from importlib.util import find_spec

from polyhost.aws_environ import container_environ
from polyhost.emulator.functions.environment_place import EnvironmentPlace
from polyhost.emulator.functions.errors import InvalidRuntime
from polyhost.emulator.functions.spec import FunctionSpec

_INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


def check_runtime(spec: FunctionSpec) -> None:
    """Raise InvalidRuntime for a function that the emulator cannot run."""
    if spec.package_type != "Zip":
        raise InvalidRuntime(
            f"The emulator runs functions from zips only; {spec.name} has PackageType {spec.package_type}."
        )
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


def runtime_command(spec: FunctionSpec) -> list[str]:
    """Return the command of the runtime."""
    # -P: nothing comes before the function's own code, which PYTHONPATH names first, but the standard library stays.
    return [sys.executable, "-P", "-m", "awslambdaric", spec.handler]


def runtime_environ(spec: FunctionSpec, place: EnvironmentPlace, log_stream: str, address: str) -> dict[str, str]:
    """Return the environment variables (developer guide, configuration-envvars); the function's own come first."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # As on Lambda: the code, then the layers (developer guide, python-layers). Packages beside them are the emulator's.
    paths = [place.code, *(layer / "python" for layer in place.layers)]
    reserved = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",  # the code is read-only
        "TZ": ":UTC",
        "_HANDLER": spec.handler,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": address,
        "LAMBDA_TASK_ROOT": str(place.code),
        "LAMBDA_RUNTIME_DIR": str(place.code),
    }
    aws = container_environ(place.aws_url, spec.region)
    variables = dict(spec.variables)
    return inherited | {"LANG": "en_US.UTF-8", "HOME": "/tmp"} | aws | variables | reserved  # noqa: S108 - its own /tmp
