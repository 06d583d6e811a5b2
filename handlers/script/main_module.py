"""What a model's process has under the name `__main__`.

A pickle names a class by its module. For a class of a notebook, or of a training script, that is `__main__`, which in
this process would be polyhost's own. A stand-in takes its place, and has what the model's script or handler defines
or imports.
"""

import sys
from types import ModuleType
from typing import Any

REMEDY = "; define or import it in the archive's inference.py, or in the handler's module"


class MainModule(ModuleType):
    """A module `__main__` with the names of other modules."""

    def __init__(self) -> None:
        super().__init__("__main__")
        self._others: list[ModuleType] = []

    def __getattr__(self, name: str) -> Any:
        # The file and the loader stay absent: multiprocessing would run that file again in each of its processes.
        for module in () if name.startswith("__") else self._others:
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"module '__main__' has no attribute {name!r}")

    def __repr__(self) -> str:
        """Return what unpicklers put into their error: "Can't get attribute 'Model' on <module ...>"."""
        return f"<module '__main__'>{REMEDY}"

    def add(self, module: ModuleType) -> None:
        """Let the names of this module be found, unless it is polyhost's own.

        A notebook's `Config` must not be ours: the handler that a zygote warms up with, and the service that calls a
        script, are added before the model's own modules.
        """
        if module.__name__.partition(".")[0] != "polyhost":
            self._others.append(module)


def stand_in() -> MainModule:
    """Return the stand-in of this process, which replaces the module at the first call."""
    found = sys.modules["__main__"]
    if not isinstance(found, MainModule):
        found = sys.modules["__main__"] = MainModule()
    return found
