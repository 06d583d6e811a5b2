"""moto's records, if there are any: the import of a service takes a while, and one that was not used has none."""

import sys
from typing import Any

from polyhost.emulator.config import ACCOUNT


def loaded_backends(module: str, name: str) -> list[tuple[str, Any]]:
    """Return the regions of a service with their backends; none before the service's module is imported.

    moto defines the name at the end of the module, so that one that another thread still imports counts as not used.
    """
    backends = getattr(sys.modules.get(module), name, None)
    return [] if backends is None else list(backends[ACCOUNT].items())
