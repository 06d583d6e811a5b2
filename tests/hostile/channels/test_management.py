"""A model loads, unloads and lists other models over loopback."""

import httpx
import pytest

from tests.hostile.channels.conftest import ATTACKER, Hostile
from tests.support.waiting import wait_for

# Each asks in another way; `ask` returns the statuses of unloading the victim, loading over it, describing and listing.
ASK = """
def ask(port=PORT):
    statuses = []
    for method, path, body in [("DELETE", "/models/victim", None), ("GET", "/models/victim", None),
                               ("GET", "/models", None), ("GET", "/metrics", None),
                               ("POST", "/models", '{"model_name": "evil", "url": "FOLDER"}')]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        statuses.append(connection.getresponse().status)
        connection.close()
    return str(statuses)
"""
FROM_THE_WORKER = "result = ask()"
FROM_A_DAEMON = """
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        os.chdir("/")
        os.write(writer, ask().encode())
    os._exit(0)
result = os.read(reader, 1000).decode()
"""


@pytest.fixture
def native(hostile: Hostile) -> Hostile:
    if not hostile.container.native:
        pytest.skip("Multi Model Server answers whoever asks (SECURITY.md)")
    return hostile


@pytest.mark.parametrize("attack", [FROM_THE_WORKER, FROM_A_DAEMON], ids=["from the worker", "from a daemon"])
def test_models_may_not_manage(native: Hostile, attack: str) -> None:
    container = native.container
    ask = ASK.replace("PORT", str(container.port)).replace("FOLDER", str(container.folder("evil")))
    native.make("evil", ATTACKER)

    assert native.attack(f"{ask}\n{attack}") == "[403, 403, 403, 403, 403]"
    assert sorted(container.names()) == ["attacker", "victim"]


def test_who_has_vanished_may_not_manage(native: Hostile) -> None:
    """The request stays behind: in one case its socket is closed, in the other it is reset."""
    native.attack(
        f"""
import struct
for linger in (None, struct.pack("ii", 1, 0)):
    for _ in range(20):
        end = socket.create_connection(("127.0.0.1", {native.container.port}))
        if linger:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        end.send(b"DELETE /models/victim HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        end.close()
"""
    )

    assert sorted(native.container.names()) == ["attacker", "victim"]


def test_models_may_invoke_and_ping(native: Hostile) -> None:
    status = native.attack(
        f"""
connection = http.client.HTTPConnection("127.0.0.1", {native.container.port}, timeout=60)
connection.request("POST", "/models/victim/invoke", "hello", {{"Content-Type": "text/plain"}})
first = connection.getresponse()
first.read()
connection.request("GET", "/ping")
result = (first.status, connection.getresponse().status)
"""
    )

    assert status == "(200, 200)"


def test_clients_of_this_machine_manage_on_each_connection(hostile: Hostile) -> None:
    container = hostile.container
    name = hostile.make("managed", ATTACKER)
    for _ in range(2):
        with httpx.Client(base_url=container.http.base_url, timeout=60, trust_env=False) as client:
            url = str(container.folder(name))
            assert client.post("/models", params={"model_name": name, "url": url}).status_code == 200
            wait_for(lambda: name in container.names(), "the model")
            assert client.delete(f"/models/{name}").status_code == 200
