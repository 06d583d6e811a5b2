"""What uv may reach, tried in a process that is confined as uv's is."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.container.isolation.confinement import usable_landlock

TRY = """
import sys
from pathlib import Path
from polyhost.container.config import Config
from polyhost.container.layers.confinement import confine
base, workplace = Path(sys.argv[1]), Path(sys.argv[2])
config = Config.from_environ({"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_MULTI_MODEL": "true",
                              "POLYHOST_STATE_DIR": str(base / "state"), "POLYHOST_LAYERS_MB": "1"})
confine(config, base / "run", {"UV_FIND_LINKS": str(base / "links"), "NO_PROXY": "x"}, workplace)
for words in sys.argv[3:]:
    kind, _, path = words.partition(":")
    try:
        Path(path).read_bytes() if kind == "read" else Path(path).write_bytes(bytes(int(kind)))
        print("done")
    except OSError as error:
        print(type(error).__name__, error.errno)
"""


@pytest.fixture
def base() -> Iterator[Path]:
    # Not below /tmp, of which nothing is allowed.
    with tempfile.TemporaryDirectory(prefix="pt-", dir="/var/tmp") as folder:
        yield Path(folder)


def test_uv_reaches_its_workplace_and_no_model(base: Path) -> None:
    if not usable_landlock():
        pytest.skip("this kernel has no Landlock")
    workplace = base / "state" / "layers" / "building" / "x"
    for path in (workplace, base / "models" / "m", base / "state" / "layers" / "layers", base / "links", base / "run"):
        path.mkdir(parents=True)
        (path / "file").write_text("content")

    command = [sys.executable, "-c", TRY, str(base), str(workplace)]
    denied, done = "PermissionError 13", "done"
    tries = {
        f"read:{workplace}/file": done,
        f"10:{workplace}/new": done,
        f"2000000:{workplace}/large": "OSError 27",  # EFBIG
        f"read:{base}/links/file": done,
        f"10:{base}/links/new": denied,
        f"read:{base}/models/m/file": denied,
        f"10:{base}/models/m/new": denied,
        f"read:{base}/state/layers/layers/file": denied,
        f"10:{base}/state/layers/layers/new": denied,
        f"read:{base}/run/file": denied,
        "read:/etc/hosts": done,
        "10:/etc/polyhost-test-planted": denied,
        "10:/var/tmp/polyhost-test-planted": denied,
    }
    output = subprocess.run([*command, *tries], capture_output=True, text=True, timeout=300)

    assert output.stdout.splitlines() == list(tries.values()), output.stderr
