"""Where folders go that models must not reach: not below /tmp, to which models may write."""

import os
import tempfile
from pathlib import Path

_SHARED, _PRIVATE = Path("/tmp"), Path("/var/tmp")  # noqa: S108


def private_parent() -> Path:
    """Return the folder in which to make one: that of TMPDIR; in place of /tmp, /var/tmp if it can be written to."""
    folder = Path(tempfile.gettempdir())
    return _PRIVATE if folder == _SHARED and os.access(_PRIVATE, os.W_OK | os.X_OK) else folder
