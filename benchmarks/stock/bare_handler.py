"""A model that computes nothing, to measure what the server itself costs. Its archive contains this file."""

from typing import Any


class ModelHandler:
    def initialize(self, context: Any) -> None:
        pass

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        return ["{}" for _ in data]


_service = ModelHandler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    return None if data is None else _service.handle(data, context)
