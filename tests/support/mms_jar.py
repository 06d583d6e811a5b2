"""The jar of the Multi Model Server that is first on the search path: as released, or patched (scripts/patch-jar)."""

import zipfile
from pathlib import Path

_RECORD = "META-INF/polyhost-patched.json"


def is_patched() -> bool:
    """Return whether Debian's Netty is in it, as in the image."""
    import mms

    with zipfile.ZipFile(Path(mms.__file__).parent / "frontend" / "model-server.jar") as jar:
        return _RECORD in jar.namelist()
