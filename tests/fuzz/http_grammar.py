"""Streams of HTTP requests, most of them wrong somewhere."""

import json
from random import Random

from tests.fuzz.mutations import COMMON, mutated
from tests.fuzz.runner import Case

VICTIM, OTHER = b"victim", b"other"  # the latter may be loaded, unloaded and broken by what is sent here

_TOKENS = [
    *COMMON,
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
    b"Host: a\r\n",
    b"Origin: http://a\r\n",
    b"\r\n ",
    b" :",
    b";ext=1",
    b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n0\r\n\r\n",
    b"HTTP/1.0",
    b"HTTP/2.0",
]
_METHODS = [
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"get",
    b"PRI",
    b"TRACE",
    b"CONNECT",
    b"\x00",
    b"GET\t",
]
_PATHS = [
    b"/ping",
    b"/models",
    b"/models/" + OTHER,
    b"/models/" + OTHER + b"/invoke",
    b"/models/nobody",
    b"/invocations",
    b"/invocations?model_name=" + OTHER,
    b"/predictions/" + OTHER,
    b"/metrics",
    b"/execution-parameters",
    b"/api-description",
    b"*",
    b"http://a/ping",
    b"/models/%00",
    b"/models/%2e%2e/x/invoke",
    b"/models//invoke",
    b"/models?limit=0&next_page_token=z",
    b"/models/" + b"n" * 5000 + b"/invoke",
]
_TYPES = [
    b"application/json",
    b"text/csv",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=b",
    b"multipart/form-data",
    b"application/octet-stream",
    b"a" * 300,
    b"text/plain; charset=\xff",
]
_BODIES = [
    b"",
    b"{}",
    b"x",
    b"a=b&c=%zz",
    b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n",
    b"x" * 3000,
]


class HttpGrammar:
    """Makes streams of requests. `folder`: of the model that may be loaded and unloaded."""

    def __init__(self, folder: bytes) -> None:
        self._load = json.dumps({"model_name": OTHER.decode(), "url": folder.decode()}).encode()

    def new_case(self, chance: Random) -> Case:
        requests = [self._request(chance) for _ in range(chance.choice((1, 1, 2, 4)))]
        data = b"".join(requests)
        if chance.random() < 0.85:
            data = mutated(data, chance, _TOKENS)
        pieces = chance.choice((1, 1, 1, 2, 3))
        return Case(data, " ".join(str(chance.randint(0, len(data))) for _ in range(pieces - 1)))

    def _request(self, chance: Random) -> bytes:
        match chance.randrange(5):
            case 0:
                return _message(b"POST", b"/models/" + VICTIM + b"/invoke", chance.choice(_BODIES), chance)
            case 1:
                return _message(b"POST", b"/models", mutated(self._load, chance, most=1), chance)
            case 2:
                return _message(b"DELETE", b"/models/" + OTHER, b"", chance)
            case 3:
                return _message(b"GET", chance.choice(_PATHS), b"", chance)
            case _:
                return _message(chance.choice(_METHODS), chance.choice(_PATHS), chance.choice(_BODIES), chance)


def _message(method: bytes, path: bytes, body: bytes, chance: Random) -> bytes:
    lines = [b"%b %b HTTP/1.%d" % (method, path, chance.random() < 0.9), b"Host: here"]
    if chance.random() < 0.5:
        lines.append(b"Content-Type: " + chance.choice(_TYPES))
    if chance.random() < 0.2:
        lines.append(
            chance.choice((b"X: " + b"x" * 9000, b"Accept: */*", b"Connection: keep-alive", b"X:", b"TE: trailers"))
        )
    if chance.random() < 0.3:
        size = chance.choice((1, 3, 1000))
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    elif body or chance.random() < 0.3:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
