"""Where the layers are: in the state folder, so that the next container finds them; else in the run folder."""

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from polyhost.container.config import Config, Requirements
from polyhost.container.errors import ConfigError
from polyhost.container.layers.store import LayerStore
from polyhost.events import get_logger

_NAME = "layers"
_NEEDED = ("uv", "packaging")

logger = get_logger(__name__)


def prepared(config: Config, run_dir: Path) -> Config:
    """Return the settings with the layers' folder, which is made, if archives may ask for packages.

    Raises ConfigError if what installs them is missing.
    """
    if config.requirements is Requirements.OFF:
        return config
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(
            f"POLYHOST_REQUIREMENTS={config.requirements.value!r}: {' and '.join(missing)} must be installed beside"
            " polyhost: pip install 'polyhost[requirements]'"
        )
    if config.state_dir:
        folder = Path(config.state_dir).absolute() / _NAME
        try:
            LayerStore(folder).prepare().sweep()
        except OSError as error:
            message = "cannot keep layers in %s (%s): they are made anew by each container (POLYHOST_STATE_DIR)"
            logger.warning(message, folder, error.strerror)
        else:
            if os.access(folder / "layers", os.W_OK):
                return replace(config, layers_dir=str(folder))
    folder = run_dir / _NAME
    LayerStore(folder).prepare()
    return replace(config, layers_dir=str(folder))
