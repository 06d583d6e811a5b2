"""The configurations of HAProxy and nginx, run before three small servers that say who they are."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from polyhost.processes import ServerProcess, free_port
from tests.support.model_store import TARGET
from tests.support.stub_server import StubRequest, StubResponse, stub_server

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMES = [f"m{number}.tar.gz" for number in range(120)]
REPLICAS = ("polyhost-1", "polyhost-2", "polyhost-3")


@dataclass
class Scene:
    """A proxy that runs, and the servers behind it, of which any can be ended."""

    url: str
    servers: dict[str, ExitStack]

    def replicas(self) -> dict[str, str]:
        """Call each name once, and return the server that has answered."""
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as http:
            responses = {name: http.post("/invocations", json={}, headers={TARGET: name}) for name in NAMES}
        assert {response.status_code for response in responses.values()} == {200}
        return {name: response.text for name, response in responses.items()}


def answers(replica: str) -> Callable[[StubRequest], StubResponse]:
    return lambda request: StubResponse(200, replica.encode())


def haproxy(folder: Path, port: int, servers: Mapping[str, int]) -> list[str | Path]:
    config = placed((DEPLOY / "haproxy" / "haproxy.cfg").read_text(), servers)
    (folder / "haproxy.cfg").write_text(config.replace("bind :8080", f"bind 127.0.0.1:{port}"))
    return ["haproxy", "-db", "-f", folder / "haproxy.cfg"]


def nginx(folder: Path, port: int, servers: Mapping[str, int]) -> list[str | Path]:
    config = placed((DEPLOY / "nginx" / "nginx.conf").read_text(), servers)
    config = config.replace("listen 8080", f"listen 127.0.0.1:{port}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"    {kind}_temp_path {folder / kind};\n" for kind in kinds)  # /var/lib/nginx is root's
    config = config.replace("http {\n", f"http {{\n    access_log off;\n{folders}")
    (folder / "nginx.conf").write_text(f"daemon off;\npid {folder / 'nginx.pid'};\n{config}")
    return ["nginx", "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]


def placed(config: str, servers: Mapping[str, int]) -> str:
    """Put the addresses of this machine into a configuration."""
    return re.sub(r"(polyhost-\d):8080", lambda found: f"127.0.0.1:{servers[found[1]]}", config)


@contextmanager
def scene(command: Callable[[Path, int, Mapping[str, int]], list[str | Path]], folder: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(ExitStack()) for name in REPLICAS}
        urls = {name: server.enter_context(stub_server(answers(name))) for name, server in servers.items()}
        port = free_port()
        ports = {name: int(url.rpartition(":")[2]) for name, url in urls.items()}
        process = ServerProcess(command(folder, port, ports), folder / "proxy.log")
        stack.callback(process.kill)
        url = f"http://127.0.0.1:{port}"
        process.wait_until(lambda: serves(url))
        yield Scene(url, servers)


def serves(url: str) -> bool:
    try:
        response = httpx.post(f"{url}/invocations", json={}, headers={TARGET: "m"}, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return response.status_code == httpx.codes.OK


@pytest.mark.parametrize("command", [haproxy, nginx])
def test_each_name_has_one_replica_and_keeps_it_when_another_ends(
    command: Callable[[Path, int, Mapping[str, int]], list[str | Path]], tmp_path: Path
) -> None:
    if shutil.which(command.__name__) is None:
        pytest.skip(f"no {command.__name__} on PATH")
    with scene(command, tmp_path) as found:
        before = found.replicas()
        assert set(before.values()) == set(REPLICAS)
        assert found.replicas() == before
        assert httpx.get(f"{found.url}/models", timeout=60, trust_env=False).status_code == 404
        found.servers["polyhost-2"].close()
        after = found.replicas()  # no call fails, from the first on
        assert set(after.values()) == {"polyhost-1", "polyhost-3"}
        moved = {name for name in NAMES if after[name] != before[name]}
        assert moved == {name for name in NAMES if before[name] == "polyhost-2"}
