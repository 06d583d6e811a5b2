"""The run folder: what the container's processes share through files, removed when the container ends.

launches/         records of MMS's launchers (mms/launcher.py)
launch.fifo       their pids, for the fork server
tmp/              models' temp folders; MMS's sockets and pid file
attempts/         the models that a fork server is opening (forkserver/attempts.py)
trash/            temp folders of models that are closed, until they are removed (forkserver/trash.py)
homes/            home folders that spares have made ahead of their loads (isolation/home.py)
layers-in-use/    the layer of each model that has one (forkserver/model_layers.py)
layers/           the layers, if there is no folder that outlives the container (layers/folder.py)
mms.properties    MMS's configuration, written by the toolkit
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.errors import ConfigError
from polyhost.container.isolation.home import HOMES
from polyhost.container.mms.launcher import FIFO, LAUNCHES
from polyhost.private_folder import private_parent

# A socket's path has 107 bytes at most (unix(7)): PARENT/polyhost-XXXXXXXX/tmp/.mms.sock.PORT
_MAX_PARENT = 107 - len("/polyhost-XXXXXXXX/tmp/.mms.sock.65535")
_ATTEMPTS, _ATTEMPT_S = 60, 0.05


def create(config: Config) -> Path:
    """Create the container's run folder. Raises ConfigError."""
    parent = Path(config.run_dir or private_parent()).absolute()
    if len(os.fsencode(parent)) > _MAX_PARENT:
        raise ConfigError(
            f"POLYHOST_RUN_DIR: {parent} has more than {_MAX_PARENT} bytes, too many for the paths of sockets below it;"
            " choose a shorter one"
        )
    try:
        parent.mkdir(parents=True, exist_ok=True)
        run_dir = Path(tempfile.mkdtemp(prefix="polyhost-", dir=parent))
        for folder in (LAUNCHES, "tmp", HOMES):
            (run_dir / folder).mkdir(mode=0o700)
        os.mkfifo(run_dir / FIFO, 0o600)
    except OSError as error:
        raise ConfigError(
            f"POLYHOST_RUN_DIR: {parent}: {error.strerror}; choose a folder that can be written to"
        ) from None
    return run_dir


def remove(run_dir: Path) -> None:
    """Remove the run folder. Tries again for a while: processes that are just ending may still create files in it."""
    for _ in range(_ATTEMPTS):
        try:
            # Not shutil.rmtree: it calls itself once for each level, and models may have made thousands.
            subprocess.run(["rm", "-rf", "--", run_dir], stderr=subprocess.DEVNULL, check=False)
        except OSError:
            shutil.rmtree(run_dir, ignore_errors=True)
        if not run_dir.exists():
            break
        time.sleep(_ATTEMPT_S)
