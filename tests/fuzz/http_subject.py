"""The HTTP of a front end."""

import os
import re
import select
import shutil
import socket
import time
from collections import Counter
from itertools import pairwise
from random import Random

from tests.fuzz.http_grammar import OTHER, VICTIM, HttpGrammar
from tests.fuzz.runner import CHECK_EVERY, Case, FindingError
from tests.support.container import ContainerProcess
from tests.support.models import MODELS

_HANG_S = 60.0
_HALF_CLOSE_S = 0.01  # MMS drops responses that it has not sent when the client closes its half
_PROBE = b"0123456789" * 10
_MORE_DESCRIPTORS = 20
_MORE_MEMORY = 60 << 20
_HANDLER = """
def handle(data, context):
    return None if data is None else [bytes(item.get("body") or b"") for item in data]  # a form has fields instead
"""
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) ?[^\r\n]*\Z")
_BODILESS = (100, 101, 204, 304)


class HttpSubject:
    """A container that gets streams of requests, each on a connection of its own."""

    check_every = CHECK_EVERY
    shrinks = True

    def __init__(self, container: ContainerProcess) -> None:
        self.name = "http-native" if container.native else "http-mms"
        self.counts: Counter[str] = Counter()
        self._container = container
        for name in (VICTIM, OTHER):
            folder = container.folder(name.decode())
            if not folder.exists():
                shutil.copytree(MODELS / "returns_the_body", folder)
                (folder / "model_handler.py").write_text(_HANDLER)
        container.loaded(VICTIM.decode())
        words = ("polyhost.container.native",) if container.native else ("com.amazonaws.ml.mms.ModelServer",)
        self._front_end = container.process_of(*words)
        self._grammar = HttpGrammar(os.fsencode(container.folder(OTHER.decode())))
        self._descriptors: list[int] = []
        self._memory: list[int] = []
        self._stuck: set[str] = set()

    def new_case(self, chance: Random) -> Case:
        return self._grammar.new_case(chance)

    def attempt(self, case: Case) -> None:
        statuses = self._check_responses(*self._exchange(case))
        self.counts["requests answered"] += len(statuses)
        for status in statuses:
            self.counts[f"status {status}"] += 1
        wrong = [status for status in statuses if status >= 500 and status != 505]  # 505: the version is not ours
        if wrong and self._container.native:
            raise FindingError(f"the front end answered {wrong}")

    def _exchange(self, case: Case) -> tuple[bytes, bool]:
        """Return what came back, and whether its end may be lost: by a reset, or because MMS closes when we do."""
        data = case.data
        bounds = sorted({0, len(data), *(min(int(place), len(data)) for place in case.how.split())})
        received, cut = b"", not self._container.native
        try:
            with socket.create_connection(("127.0.0.1", self._container.port), timeout=_HANG_S) as client:
                for start, end in pairwise(bounds):
                    client.sendall(data[start:end])
                    time.sleep(0.001 if end < len(data) else 0)
                select.select([client], [], [], _HALF_CLOSE_S)
                client.shutdown(socket.SHUT_WR)
                while more := client.recv(1 << 16):
                    received += more
        except TimeoutError:
            raise FindingError(f"nothing came for {_HANG_S:g} s after {received[-200:]!r}") from None
        except ConnectionRefusedError:
            raise FindingError("the port refuses connections") from None
        except OSError:
            self.counts["connections reset"] += 1  # it was rejected before everything was sent
            cut = True
        return received, cut

    def _check_responses(self, received: bytes, cut: bool) -> list[int]:
        """Return the statuses of the responses, which must follow each other without a byte between them."""
        statuses: list[int] = []
        while received:
            head, end, rest = received.partition(b"\r\n\r\n")
            line, *headers = head.split(b"\r\n")
            found = _STATUS_LINE.match(line)
            length = 0 if found and int(found[1]) in _BODILESS else _length(headers)
            if found is None or length is None or not end or len(rest) < length:
                if cut and (found or b"HTTP/1.1 ".startswith(received[:9])):
                    self.counts["responses cut"] += 1
                    return statuses
                raise FindingError(f"no whole response: {received[:300]!r}")
            statuses.append(int(found[1]))
            received = rest[length:]
        return statuses

    def check(self) -> None:
        try:
            ping = self._container.client.ping()
            response = self._container.invoke(VICTIM.decode(), _PROBE, "application/octet-stream")
        except Exception as error:
            raise FindingError(f"the container does not answer: {error!r}") from error
        if response.status_code == 404:  # a mutation has unloaded it
            self.counts["victim unloaded by a request"] += 1
            self._container.loaded(VICTIM.decode())
        elif not ping or (response.status_code, response.content) != (200, _PROBE):
            raise FindingError(f"/ping: {ping}, the victim answers {response.status_code} {response.content[:200]!r}")
        self._unload_others()
        self.counts["checks"] += 1
        self._descriptors.append(self._front_end.num_fds())
        self._memory.append(self._front_end.memory_info().rss)

    def _unload_others(self) -> None:
        """Unload what was loaded under changed names, which takes processes and descriptors."""
        for name in set(self._container.names()) - {VICTIM.decode(), OTHER.decode()}:
            status = self._container.unload(name).status_code
            self.counts["loaded under a changed name"] += 1
            if status != 200 and self._container.native:
                raise FindingError(f"{name!r} is listed, and its unload is answered with {status}")
            self._stuck.update([name] if status != 200 else [])  # MMS takes a slash, and never finds that model again

    def finish(self) -> None:
        early = len(self._memory) // 5  # buffers and Java's threads have their size by then
        first, last = self._descriptors[early], self._settled_descriptors(self._descriptors[early])
        self.counts[f"descriptors {first} -> {last}, MB {self._memory[early] >> 20} -> {self._memory[-1] >> 20}"] = 1
        if self._stuck:
            self.counts["names that MMS cannot unload"] = len(self._stuck)
        elif last > first + _MORE_DESCRIPTORS:
            raise FindingError(f"{first} descriptors became {last}")
        if self._container.native and self._memory[-1] > self._memory[early] + _MORE_MEMORY:
            raise FindingError(f"{self._memory[early]} bytes became {self._memory[-1]}")
        if self._container.native and (errors := self._container.events(level="ERROR")):
            raise FindingError(f"errors of the front end's own: {errors[:3]}")

    def _settled_descriptors(self, enough: int) -> int:
        deadline = time.monotonic() + _HANG_S
        while (count := self._front_end.num_fds()) > enough + _MORE_DESCRIPTORS and time.monotonic() < deadline:
            time.sleep(0.1)
        return count


def _length(headers: list[bytes]) -> int | None:
    """Return the length of a response's body, or None if the response does not say it."""
    lengths = [line.partition(b":")[2] for line in headers if line.lower().startswith(b"content-length:")]
    return int(lengths[0]) if len(lengths) == 1 and lengths[0].strip().isdigit() else None
