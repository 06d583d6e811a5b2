"""FastAPI with the models in its own process, in a dictionary, each loaded when it is first asked for."""

from typing import Any

from fastapi import FastAPI, HTTPException

from benchmarks.peers.services.prediction import Predict, Rows, load, model_folder


def make_app() -> FastAPI:
    app = FastAPI()
    models: dict[str, Predict] = {}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        return {}

    @app.post("/models/{name}")
    async def predict(name: str, rows: Rows) -> Any:
        if name not in models:
            try:
                models[name] = load(model_folder(name))
            except KeyError:
                raise HTTPException(404, f"no model {name!r}") from None
        return models[name](rows)

    @app.delete("/models/{name}")
    async def forget(name: str) -> dict[str, str]:
        models.pop(name, None)
        return {}

    return app
