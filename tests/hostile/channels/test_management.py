"""A model loads, unloads and lists other models over loopback."""

import httpx
import pytest

from tests.hostile.channels.conftest import Hostile
from tests.hostile.channels.parties import ATTACKER, Parties
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


WAYS = pytest.mark.parametrize("attack", [FROM_THE_WORKER, FROM_A_DAEMON], ids=["from the worker", "from a daemon"])
# The request stays behind: in one case its socket is closed, in the other it is reset.
VANISHES = """
import struct
for linger in (None, struct.pack("ii", 1, 0)):
    for _ in range(20):
        end = socket.create_connection(("127.0.0.1", PORT))
        if linger:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        end.send(b"DELETE /models/victim HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        end.close()
"""
INVOKES = """
connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
connection.request("POST", "/models/victim/invoke", "hello", {"Content-Type": "text/plain"})
first = connection.getresponse()
first.read()
connection.request("GET", "/ping")
result = (first.status, connection.getresponse().status)
"""


@WAYS
def test_models_may_not_manage(hostile: Parties, attack: str) -> None:
    skip_unless_native(hostile)
    ask = ASK.replace("PORT", str(hostile.port)).replace("FOLDER", str(hostile.folder("evil")))
    hostile.make("evil", ATTACKER)

    assert hostile.attack(f"{ask}\n{attack}") == "[403, 403, 403, 403, 403]"
    assert sorted(hostile.names()) == ["attacker", "victim"]


def test_who_has_vanished_may_not_manage(hostile: Parties) -> None:
    skip_unless_native(hostile)
    hostile.attack(VANISHES.replace("PORT", str(hostile.port)))

    assert sorted(hostile.names()) == ["attacker", "victim"]


def test_models_may_invoke_and_ping(hostile: Parties) -> None:
    skip_unless_native(hostile)
    assert hostile.attack(INVOKES.replace("PORT", str(hostile.port))) == "(200, 200)"


def skip_unless_native(parties: Parties) -> None:
    if not parties.native:
        pytest.skip("Multi Model Server answers whoever asks (SECURITY.md)")


def test_clients_of_this_machine_manage_on_each_connection(hostile: Hostile) -> None:
    container = hostile.container
    name = hostile.make("managed", ATTACKER)
    for _ in range(2):
        with httpx.Client(base_url=container.http.base_url, timeout=60, trust_env=False) as client:
            url = str(container.folder(name))
            assert client.post("/models", params={"model_name": name, "url": url}).status_code == 200
            wait_for(lambda: name in container.names(), "the model")
            assert client.delete(f"/models/{name}").status_code == 200
