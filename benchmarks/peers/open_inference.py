"""The Open Inference Protocol (V2) with its repository extension, which MLServer and Triton both have."""

import json
from typing import Any

from benchmarks.models import Copy
from benchmarks.peers.peer import Peer, PeerCall, Place


class OpenInferencePeer(Peer):
    """A server of that protocol; numbers travel as one flat list with a shape."""

    def ready(self) -> PeerCall:
        return PeerCall("GET", "/v2/health/ready")

    def load(self, place: Place, copy: Copy) -> PeerCall | None:
        return PeerCall("POST", f"/v2/repository/models/{copy.name}/load")

    def infer(self, copy: Copy, rows: bytes) -> PeerCall:
        numbers: list[list[float]] = json.loads(rows)
        data = [number for row in numbers for number in row]
        shape = [len(numbers), len(numbers[0])]
        tensor = {"name": "predict", "shape": shape, "datatype": "FP32", "data": data}
        return PeerCall("POST", f"/v2/models/{copy.name}/infer", json.dumps({"inputs": [tensor]}).encode())

    def unload(self, copy: Copy) -> PeerCall | None:
        return PeerCall("POST", f"/v2/repository/models/{copy.name}/unload")

    def prediction(self, response: bytes) -> Any:
        (output,) = json.loads(response)["outputs"]
        data, (rows, *columns) = output["data"], output["shape"]
        if columns in ([], [1]):
            return data
        return [data[row * columns[0] : (row + 1) * columns[0]] for row in range(rows)]
