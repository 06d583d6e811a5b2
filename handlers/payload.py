"""What a request's body holds once it is decoded, before a framework sees it."""

from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from polyhost.handlers.errors import BadBodyError


@dataclass(frozen=True)
class Rows:
    """Rows of values: nested lists or an array. `single` says that the body was one object, not a list of rows."""

    values: Any
    names: tuple[str, ...] | None = None
    single: bool = False


@dataclass(frozen=True)
class Picture:
    """One image of any size and mode."""

    image: Image


Inputs = Rows | Picture


def rows_from(value: Any) -> Rows:
    """Convert parsed JSON: a list of rows, a list of objects, one object, or {"instances": rows}."""
    if isinstance(value, dict) and isinstance(value.get("instances"), list):
        value = value["instances"]
    if isinstance(value, dict) and value:
        return Rows([list(value.values())], tuple(value), single=True)
    if not isinstance(value, list) or not value:
        raise BadBodyError(
            f'expected a list of rows, {{"instances": rows}}, or an object of named features; given {_described(value)}'
        )
    return _rows_of_objects(value) if isinstance(value[0], dict) else Rows(value)


def _rows_of_objects(objects: list[Any]) -> Rows:
    names = tuple(objects[0])
    for index, item in enumerate(objects):
        if not isinstance(item, dict) or item.keys() != objects[0].keys():
            given = sorted(item) if isinstance(item, dict) else _described(item)
            raise BadBodyError(f"row {index} does not have the names of row 0: expected {sorted(names)}, given {given}")
    return Rows([[item[name] for name in names] for item in objects], names)


def _described(value: Any) -> str:
    if value in ([], {}):
        return "an empty list" if value == [] else "an empty object"
    return {str: "a string", dict: "an object", list: "a list", type(None): "null"}.get(type(value), "a single value")
