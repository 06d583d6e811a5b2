"""The platform's part of a multi-model endpoint: archives become opaque folders, loaded when first asked for."""

import hashlib
import shutil
from pathlib import Path

import httpx

from cli import archive
from cli.client import Container
from cli.errors import CommandError


class Endpoint:
    """One endpoint with one container behind it; `store` is the folder that stands for the S3 prefix."""

    def __init__(self, container: Container, models_dir: Path, store: Path) -> None:
        self._container = container
        self._models_dir = models_dir
        self._store = store
        self._loaded: dict[str, str] = {}

    def invoke(self, target_model: str, body: bytes, content_type: str, accept: str | None = None) -> httpx.Response:
        """InvokeEndpoint: `target_model` is the archive's path below the prefix."""
        if target_model not in self._loaded:
            self._load(target_model)
        return self._container.invoke(self._loaded[target_model], body, content_type, accept, target_model)

    def loaded(self) -> dict[str, str]:
        """Each loaded archive and its opaque name, as the container itself lists them."""
        names = {model.name for model in self._container.models()}
        return {target: name for target, name in self._loaded.items() if name in names}

    def unload(self, target_model: str) -> None:
        """What the platform does to make room: unload, then free the disk."""
        name = self._loaded.pop(target_model)
        self._container.unload(name)
        shutil.rmtree(self._models_dir / name)

    def _load(self, target_model: str) -> None:
        name = hashlib.sha256(target_model.encode()).hexdigest()[:32]
        folder = self._models_dir / name / "model"
        folder.mkdir(parents=True)
        try:
            archive.unpack(self._store / target_model, folder)
            self._container.load(name, str(folder))
        except CommandError:
            shutil.rmtree(folder.parent)
            raise
        self._loaded[target_model] = name
