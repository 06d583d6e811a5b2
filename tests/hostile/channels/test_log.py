"""A model writes other models' log events, holds up the log, or floods it."""

import json
import re
from collections.abc import Iterator

import psutil
import pytest

from tests.hostile.channels.conftest import Hostile
from tests.hostile.channels.parties import ATTACKER, Parties
from tests.support.waiting import wait_for

FORGES = """
lines = [json.dumps({"time": "2026-01-01T00:00:00.000Z", "level": "ERROR", "logger": "x", "model": "victim",
                     "pid": 1, "message": "forged", "fields": {"model": "victim", "pid": 1, "request_id": "r"},
                     "details": {"model": "victim", "time": "x", "_aws": {}, "mine": "yes"}}), "forged {"]
for name in os.listdir("/proc/self/fd"):
    for line in lines:
        try:
            link = os.readlink(f"/proc/self/fd/{name}")
            if link.startswith("socket:"):
                end = socket.socket(fileno=os.dup(int(name)))
                if end.type == socket.SOCK_STREAM:
                    continue  # the connection to the front end: another attack
                end.send(line.encode())
            else:
                os.write(int(name), f"\\n{line}\\n".encode())
        except OSError:
            pass
print(lines[0])
"""


def test_forged_events_are_the_attackers_own(hostile: Parties) -> None:
    hostile.attack(FORGES)
    wait_for(lambda: len([e for e in hostile.events(logger="native") if "forged" in e["message"]]) >= 4, "output")
    wait_for(lambda: hostile.events(message="forged {"), "what is no event")
    pid = int(hostile.attack("result = os.getpid()"))

    forged = [event for event in hostile.events() if "forged" in event["message"]]

    assert {(event["model"], event["pid"]) for event in forged} == {("attacker", pid)}
    (imitated,) = [event for event in forged if event["message"] == "forged"]
    assert (imitated["mine"], imitated["logger"], "_aws" in imitated) == ("yes", "x", False)
    assert imitated["time"] > "2026-01-01T00:00:00.000Z"
    assert all(isinstance(json.loads(line), dict) for line in hostile.log_text().splitlines())


def test_no_lock_can_be_held(hostile: Hostile) -> None:
    found = hostile.attack(
        "run = os.path.dirname(os.path.dirname(os.environ['TMPDIR']))\n"
        "held = []\n"
        "for path in [*glob.glob(run + '/*'), *(f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd'))]:\n"
        "    try:\n"
        "        held.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))\n"
        "        fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except OSError: pass\n"
        "result = ' '.join(os.listdir(run)) + ' '.join(os.readlink(f'/proc/self/fd/{fd}') for fd in held)"
    )

    assert "attempts" in found
    assert "lock" not in found


@pytest.fixture
def flooder(hostile: Hostile) -> Iterator[str]:
    name = hostile.container.loaded(hostile.make("flooder", ATTACKER))
    yield name
    assert hostile.container.unload(name).status_code == 200


FLOODS = """
import logging
def flood_events():
    while True:
        logging.warning("flood " * 20)
def flood_output():
    while True:
        os.write(1, b"flood\\n" * 600)
for flood in (flood_events, flood_output):
    threading.Thread(target=flood, daemon=True).start()
"""


def test_flood_holds_up_no_other_model(hostile: Hostile, flooder: str) -> None:
    container = hostile.container
    assert container.invoke(flooder, FLOODS, "text/plain").status_code == 200
    wait_for(lambda: container.log_text().count("flood") > 10_000, "a flood")

    container.invoke(hostile.victim, "in the flood", "text/plain")
    container.wait_for_event("victim says in the flood", model=hostile.victim)
    other = container.loaded(hostile.make("other", ATTACKER))
    container.wait_for_event("loaded", model=other)
    assert container.unload(other).status_code == 200


def test_line_without_end_is_cut(hostile: Hostile) -> None:
    hostile.attack(
        "threading.Thread(target=lambda: os.write(1, b'endless' * 1_000_000)).start()\n"
        "print('long' * 1_000_000)\n"
        "import logging; logging.error('trace', exc_info=ValueError('x' * 1_000_000))"
    )
    container = hostile.container
    wait_for(lambda: container.log_text().count("endless") >= 990_000, "most of the endless line")
    cut = container.wait_for_event("long", model=hostile.attacker)

    assert re.search(r"\(cut: the event has 4\d{6} characters\)$", cut["message"])
    assert max(map(len, container.log_text().splitlines())) < 1 << 17


DIES = """
import logging
if os.fork() == 0:  # holds the pipe and the socket, in a session of its own
    os.setsid()
    time.sleep(600)
os.write(1, b"line\\n" * 999 + b"native last words")
for number in range(200):
    logging.warning("event %d", number)
os._exit(3)
"""


def test_last_words_are_logged_though_a_leftover_holds_the_pipe(hostile: Hostile, flooder: str) -> None:
    container = hostile.container
    response = container.invoke(flooder, DIES, "text/plain")

    assert response.status_code == 500
    if container.native:
        assert "last output: native last words" in response.json()["message"]
    container.wait_for_event("native last words", model=flooder, logger="native")
    container.wait_for_event("event 199", model=flooder)


@pytest.mark.parametrize("part", ["log_collector", "forkserver"])
def test_log_goes_on_after_the_death_of(hostile: Hostile, part: str) -> None:
    container = hostile.container
    process = container.process_of("-m", f"polyhost.container.{part}")
    process.kill()
    wait_for(lambda: process not in container.processes(), "the end of the process")
    container.invoke(hostile.victim, f"after {part}", "text/plain")

    container.wait_for_event(f"victim says after {part}", model=hostile.victim)
    wait_for(lambda: part_of(hostile, part) is not None, f"another {part}")
    loaded = container.loaded(hostile.make("later", ATTACKER))
    container.invoke(loaded, "print('of a later model')", "text/plain")
    container.wait_for_event("of a later model", model=loaded)
    assert container.unload(loaded).status_code == 200


def part_of(hostile: Hostile, part: str) -> psutil.Process | None:
    try:
        return hostile.container.process_of("-m", f"polyhost.container.{part}")
    except AssertionError:
        return None
