"""What a caller may send as the inputs of each task: texts, objects of texts, pictures and sound.

A pipeline takes a text for a picture's address, and opens a file or a connection. A caller must not be able to make the
container do either, so pictures and sound in JSON are base64.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from polyhost.handlers.body import images
from polyhost.handlers.errors import BadBodyError
from polyhost.handlers.huggingface import tasks

_OBJECTS = {
    tasks.QUESTION_ANSWERING: ("question", "context"),
    "table-question-answering": ("query", "table"),
    "document-question-answering": ("image", "question"),
}
_TEXTS = (
    "text-classification", "token-classification", "fill-mask", "feature-extraction", tasks.SENTENCE_EMBEDDINGS,
    "zero-shot-classification", "text-to-audio",
)  # fmt: skip
_PAIR = ("text", "text_pair")
# Names below which an object has a picture, sound, or the address of one.
_PICTURES = frozenset({"image", "images", "url", "path", "video"})
_SOUND = frozenset({"audio", "raw"})


def divided(inputs: Any, task: str) -> tuple[list[Any], bool]:
    """Return the inputs one by one, and whether a single one was sent. Raises BadBodyError."""
    if task == tasks.TEXT_GENERATION and _is_chat(inputs):
        return [inputs], True
    single = not isinstance(inputs, list)
    items = [inputs] if single else inputs
    if not items:
        raise BadBodyError('"inputs" is an empty list')
    check = _check_of(task)
    return [_at(check, item, None if single else index) for index, item in enumerate(items)], single


def _at(check: Callable[[Any], Any], item: Any, index: int | None) -> Any:
    try:
        return check(item)
    except BadBodyError as error:
        raise error if index is None else BadBodyError(f"inputs[{index}]: {error}") from None


def _check_of(task: str) -> Callable[[Any], Any]:
    if task in _OBJECTS:
        return lambda item: _object(item, _OBJECTS[task], task)
    if task == "text-classification":
        return _text_or_pair
    if task == tasks.TEXT_GENERATION:
        return _text_or_chat
    if task in _TEXTS or tasks.is_text_to_text(task):
        return _text
    if "audio" in task or "speech" in task:
        return lambda item: _bytes(item) if isinstance(item, str) else _without_addresses(item)
    return lambda item: _picture(item) if isinstance(item, str) else _without_addresses(item)


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "role" in item for item in value)


def _text(item: Any) -> str:
    if not isinstance(item, str):
        raise BadBodyError(f"the model takes a text; given {_kind(item)}")
    return item


def _text_or_pair(item: Any) -> Any:
    if isinstance(item, dict) and item.keys() <= set(_PAIR) and "text" in item:
        return {name: _text(value) for name, value in item.items()}
    if isinstance(item, dict):
        raise BadBodyError(f"the model takes a text, or an object of {' and '.join(_PAIR)}; given {_kind(item)}")
    return _text(item)


def _text_or_chat(item: Any) -> Any:
    return item if _is_chat(item) else _text(item)


def _object(item: Any, names: tuple[str, ...], task: str) -> Any:
    if not isinstance(item, dict) or not item.keys() >= set(names):
        raise BadBodyError(f"the task {task} takes an object of {' and '.join(names)}; given {_kind(item)}")
    for name in set(names) - _PICTURES - {"table"}:
        if not isinstance(item[name], str):
            raise BadBodyError(f"{name!r} must be a text; given {_kind(item[name])}")
    return _without_addresses(item)


def _without_addresses(value: Any) -> Any:
    """Return objects with pictures and sound in the place of base64. Raises BadBodyError for anything else there."""
    match value:
        case dict():
            return {name: _member(name, item) for name, item in value.items()}
        case list():
            return [_without_addresses(item) for item in value]
    return value


def _member(name: str, value: Any) -> Any:
    if name in _PICTURES:
        return [_picture(item) for item in value] if isinstance(value, list) else _picture(value)
    if name in _SOUND and isinstance(value, str):
        return _bytes(value)
    return _without_addresses(value)


def _picture(value: Any) -> Any:
    return images.read(_bytes(value)).image.convert("RGB")


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise BadBodyError(f"a picture or sound in JSON is base64; given {_kind(value)}")
    try:
        return base64.b64decode(value.partition(";base64,")[2] or value, validate=True)
    except (binascii.Error, ValueError):
        raise BadBodyError(
            f"a picture or sound in JSON is base64, and nothing is fetched; given {value[:60]!r}; send the base64 "
            "of the file, or the file as the body"
        ) from None


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object of {', '.join(map(repr, value))[:100] or 'nothing'}"
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(
        type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"
    )
