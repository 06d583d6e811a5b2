"""The packages of an extra that a command needs: named before anything is started that would fail for lack of them."""

from importlib.util import find_spec

from polyhost.cli.errors import CommandError

# Modules by extra. Of `serve` those that containers import at the start or with a model; nvidia-ml-py is for GPUs only.
MODULES = {
    "requirements": ("packaging", "uv"),
    "serve": ("httptools", "mms", "numpy", "PIL", "prometheus_client", "sagemaker_inference", "setuptools", "uvloop"),
}


def require(extra: str, needed_by: str) -> None:
    """Raise CommandError unless the extra is installed. `needed_by`: the command or the option."""
    if missing := [name for name in MODULES[extra] if find_spec(name) is None]:
        raise CommandError(f"{needed_by} needs {', '.join(missing)}: pip install 'polyhost[{extra}]'")
