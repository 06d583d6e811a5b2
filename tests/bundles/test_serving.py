"""A bundle served without an engine, with no setting but its own."""

from pathlib import Path

import httpx

from polyhost.processes import ServerProcess, free_port
from tests.support.command import POLYHOST
from tests.support.model_store import TARGET


def test_one_command_serves_it(bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(POLYHOST), "serve", "--bundle", bundle.name, "--port", str(port)]
    environ = {"PATH": "/usr/bin:/bin", "POLYHOST_STATE_DIR": str(tmp_path / "state")}
    server = ServerProcess(command, tmp_path / "log", environ=environ, cwd=bundle.parent)
    try:
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as http:
            server.wait_until(lambda: _is_ready(http))
            assert {model["modelName"] for model in http.get("/models").json()["models"]} == {"team/one.tar.gz", "two"}
            for name, text in (("team/one.tar.gz", "one"), ("two", "two")):
                response = http.post("/invocations", content=b"{}", headers={TARGET: name})
                assert (response.status_code, response.text) == (200, text)
    finally:
        server.stop()


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
