"""Request bodies, through the handlers of each framework in a container with the native front end."""

import http.client
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import psutil

from benchmarks.models import KINDS
from tests.fuzz.body_grammar import new_body
from tests.fuzz.runner import CHECK_EVERY, Case, FindingError
from tests.support.container import ContainerProcess
from tests.support.models import MODELS
from tests.support.processes import query

_HANG_S = 60.0
_MAX_MEMORY = 2 << 30  # of one worker; frameworks alone take up to 300 MB
_BODY = b"[" + b",".join([b"5"] * 64) + b"]"
_MODELS = {"sklearn": "lr", "torch": "mlp"}


class BodySubject:
    """`how` of a case is the model's framework, and the content type."""

    name = "bodies"
    check_every = CHECK_EVERY
    shrinks = True

    def __init__(self, container: ContainerProcess, frameworks: list[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._container = container
        self._frameworks = frameworks
        for framework in frameworks:
            folder = container.folder(framework)
            folder.mkdir(parents=True)
            _make(framework, folder)
            container.loaded(framework)
        self._client = http.client.HTTPConnection("127.0.0.1", container.port, timeout=_HANG_S)
        self._right = self._answer()

    def new_case(self, chance: Random) -> Case:
        framework = chance.choice(self._frameworks)
        case = new_body(chance, 108 if framework == "mxnet" else 64)
        return Case(case.data, f"{framework} {case.how}")

    def attempt(self, case: Case) -> None:
        framework, _, content_type = case.how.partition(" ")
        try:
            status, answer = self._post(framework, case.data, content_type)
        except (OSError, http.client.HTTPException) as error:
            self._client.close()
            raise FindingError(f"no response: {error!r}") from error
        self.counts[f"{framework}: status {status}"] += 1
        if status >= 500:
            raise FindingError(f"{status} {answer[:500]!r}")

    def _post(self, framework: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        headers = {"Content-Type": content_type} if content_type else {}
        self._client.request("POST", f"/models/{framework}/invoke", body, headers)
        response = self._client.getresponse()
        return response.status, response.read()

    def _answer(self) -> tuple[int, bytes]:
        return self._post(self._frameworks[0], _BODY, "application/json")

    def check(self) -> None:
        if (answer := self._answer()) != self._right or answer[0] != http.client.OK:
            raise FindingError(f"{self._frameworks[0]} answers {answer}, it was {self._right}")
        for framework in self._frameworks:
            memory = max((self._memory(worker) for worker in self._container.workers_of(framework)), default=0)
            key = f"{framework}: most MB of a worker"
            self.counts[key] = max(self.counts[key], memory >> 20)
            if memory > _MAX_MEMORY:
                raise FindingError(f"a worker of {framework} has {memory >> 20} MB")

    def _memory(self, worker: psutil.Process) -> int:
        return int((query(worker.memory_info) or psutil.Process().memory_info()).rss)

    def finish(self) -> None:
        self._client.close()


def _make(framework: str, folder: Path) -> None:
    if framework in _MODELS:
        KINDS[_MODELS[framework]].make(folder)
    elif framework == "mxnet":
        _dense_network(folder)
    else:
        shutil.copytree(MODELS / framework, folder, dirs_exist_ok=True)


def _dense_network(folder: Path) -> None:
    import importlib

    importlib.import_module("polyhost.handlers.mxnet.handler")  # first: it makes MXNet importable
    mxnet = importlib.import_module("mxnet")
    network = mxnet.gluon.nn.HybridSequential()
    network.add(mxnet.gluon.nn.Flatten(), mxnet.gluon.nn.Dense(7))
    network.initialize()
    network.hybridize()
    network(mxnet.nd.zeros((1, 3, 6, 6)))
    network.export(str(folder / "net"))
    (folder / "net-shapes.json").write_text('[{"name": "data", "shape": [1, 3, 6, 6]}]')
