"""Ray Serve with multiplexed models on one replica: `python -m ...ray_service PORT FOLDER`."""

import signal
import sys
from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request

from benchmarks.peers.services.prediction import Predict, load, model_folder

_MODELS = 200  # more than the benchmark loads: the default of 3 would replace them all the time
_OBJECT_STORE_BYTES = 100_000_000


@serve.deployment
class Models:
    @serve.multiplexed(max_num_models_per_replica=_MODELS)
    async def model(self, name: str) -> Predict:
        return load(model_folder(name))

    async def __call__(self, request: Request) -> Any:
        if request.method == "GET":
            return {}
        predict = await self.model(serve.get_multiplexed_model_id())
        return predict(await request.json())


def main(port: str, folder: str) -> None:
    ray.init(
        include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1", _temp_dir=folder,
    )  # fmt: skip
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=int(port)))
    serve.run(Models.bind())  # type: ignore[attr-defined] # of its decorator
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(*sys.argv[1:])
