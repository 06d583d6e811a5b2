"""README's example of a model store: its commands, for the tests that run them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.support.container import ROOT

_PORT, _IMAGE = "8080", "polyhost serve"


@dataclass(frozen=True)
class StoreExample:
    """How README serves `build/demo`, and the request that it sends."""

    docker_run: str
    serve: list[str]
    curl: list[str]

    def docker(self, image: str, port: int) -> str:
        """Return the command for the shell with another image and port."""
        assert self.docker_run.endswith(_IMAGE) and f":{_PORT}:{_PORT}" in self.docker_run
        command = self.docker_run.removesuffix(_IMAGE) + f"{image} serve"
        return command.replace(f":{_PORT}:{_PORT}", f":{port}:{_PORT}")

    def request(self, url: str) -> list[str]:
        """Return curl's arguments for another address."""
        return [word.replace(f"http://127.0.0.1:{_PORT}", url) for word in self.curl]


def store_example() -> StoreExample:
    """Read it: README's first lines that begin with `docker run`, `curl` and `polyhost serve --store`."""
    text = Path(ROOT / "README.md").read_text().replace("\\\n", "")

    def first(start: str) -> str:
        found = re.search(rf"^({start} .*?)(?: +#.*)?$", text, re.M)
        assert found is not None, f"README has no line that begins with {start!r}"
        return found[1].strip()

    return StoreExample(first("docker run"), shlex.split(first("polyhost serve --store")), shlex.split(first("curl")))
