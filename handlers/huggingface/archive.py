"""What an archive of `save_pretrained` has to hold, and what it says of itself. No framework is imported."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.handlers.errors import BadModelError

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
SETTINGS = "huggingface.json"
BASES_VARIABLE = "POLYHOST_BASE_MODELS"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZERS = (
    "tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model",
    "source.spm", "tekken.json",
)  # fmt: skip
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_SETTINGS_EXAMPLE = '{"task": "text-classification"}'


@dataclass(frozen=True)
class ArchiveSettings:
    """What the author of an archive says in huggingface.json."""

    task: str | None = None
    base: str | None = None


@dataclass(frozen=True)
class Files:
    """The folders that a model's parts come from: all from the archive, or for an adapter from its base too."""

    archive: Path
    base: Path | None
    config: Path  # folders that have config.json
    tokenizer: Path

    @classmethod
    def of(cls, directory: Path, bases: Path | None) -> "Files":
        """Raise BadModelError if the base is not there."""
        base = base_of(directory, bases) if is_adapter(directory) else None
        own_config = base is None or (directory / CONFIG).is_file()
        own_tokenizer = base is None or _has_any(directory, _TOKENIZERS)
        other = base or directory
        return cls(directory, base, directory if own_config else other, directory if own_tokenizer else other)

    @property
    def weights(self) -> Path:
        """The folder with the weights of a whole model."""
        return self.base or self.archive


def settings(directory: Path) -> ArchiveSettings:
    """Return the archive's settings, the defaults without a file. Raises BadModelError."""
    path = directory / SETTINGS
    if not path.is_file():
        return ArchiveSettings()
    given = read_object(path, f"such as {_SETTINGS_EXAMPLE}")
    known = ArchiveSettings.__dataclass_fields__
    for name, value in given.items():
        if name not in known or not isinstance(value, str):
            raise BadModelError(
                f"{SETTINGS}: {json.dumps(name)}: {json.dumps(value)[:100]}: it holds texts named {', '.join(known)}, "
                f"such as {_SETTINGS_EXAMPLE}"
            )
    return ArchiveSettings(**given)


def is_adapter(directory: Path) -> bool:
    """Return whether the archive holds an adapter, and no model of its own."""
    return (directory / ADAPTER).is_file() and not any((directory / name).is_file() for name in WEIGHTS)


def base_of(directory: Path, bases: Path | None) -> Path:
    """Return the folder of the model that an archive's adapter completes. Raises BadModelError."""
    if not _has_any(directory, _ADAPTER_WEIGHTS):
        raise BadModelError(f"the adapter's weights are missing: none of {', '.join(_ADAPTER_WEIGHTS)} is there")
    name = settings(directory).base or _named_base(directory)
    if bases is None:
        raise BadModelError(
            f"the archive is an adapter of {name!r}; put that model into a folder of the image, and name the folder in "
            f"{BASES_VARIABLE}"
        )
    places = [
        bases / part for part in dict.fromkeys((name.strip("/"), Path(name).name)) if ".." not in Path(part).parts
    ]
    found = next((place for place in places if (place / CONFIG).is_file()), None)
    if found is None:
        there = ", ".join(sorted(path.name for path in bases.iterdir())[:20]) if bases.is_dir() else "no such folder"
        raise BadModelError(
            f"the archive is an adapter of {name!r}, which is not in {bases} ({BASES_VARIABLE}): {there or 'nothing'}; "
            f'name one of them in {SETTINGS}: {{"base": "NAME"}}'
        )
    return found


def _named_base(directory: Path) -> str:
    name = read_object(directory / ADAPTER, "as PEFT's save_pretrained writes it").get("base_model_name_or_path")
    if not isinstance(name, str) or not name.strip("/"):
        raise BadModelError(
            f'{ADAPTER} has no "base_model_name_or_path"; name the base in {SETTINGS}: {{"base": "NAME"}}'
        )
    return name


def config(directory: Path) -> dict[str, Any]:
    """Return what config.json says. Raises BadModelError."""
    path = directory / CONFIG
    if not path.is_file():
        raise BadModelError(f"{CONFIG} is missing: {_saved()}")
    return read_object(path, "as save_pretrained writes it")


def check_weights(directory: Path) -> None:
    """Raise BadModelError, which names what is missing, unless the weights are there, each of their shards too."""
    found = next((name for name in WEIGHTS if (directory / name).is_file()), None)
    if found is None:
        raise BadModelError(f"the weights are missing: none of {', '.join(WEIGHTS)} is there; {_saved()}")
    if found.endswith(".index.json"):
        shards = read_object(directory / found, "as save_pretrained writes it").get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise BadModelError(f'{found} has no "weight_map" of names of files; {_saved()}')
        _check_all(directory, sorted(set(shards.values())), found)


def check_tokenizer(directory: Path, task: str) -> None:
    """Raise BadModelError if there is no tokenizer: transformers would make one that knows no word."""
    if not _has_any(directory, _TOKENIZERS):
        raise BadModelError(
            f"the tokenizer is missing, which the task {task} needs: none of {', '.join(_TOKENIZERS)} is there; write "
            "it beside the model with tokenizer.save_pretrained(folder)"
        )


def check_processor(directory: Path, task: str) -> None:
    """Raise BadModelError if nothing says how pictures or sound become the model's input."""
    if not _has_any(directory, _PROCESSORS):
        raise BadModelError(
            f"{_PROCESSORS[0]} is missing, which the task {task} needs; write it beside the model with "
            "processor.save_pretrained(folder)"
        )


def takes_pictures_only(directory: Path) -> bool:
    """Return whether there is a processor and no tokenizer."""
    return _has_any(directory, _PROCESSORS) and not _has_any(directory, _TOKENIZERS)


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """Return the object that a file of JSON holds. Raises BadModelError."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadModelError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadModelError(f"{path.name} holds a {type(value).__name__}; it must hold an object, {expected}")
    return value


def _check_all(directory: Path, names: Iterable[str], index: str) -> None:
    for name in names:
        if Path(name).name != name:
            raise BadModelError(f"{index} names the file {name!r}; it must lie beside {index}")
        if not (directory / name).is_file():
            raise BadModelError(f"{name} is missing, a part of the weights that {index} names")


def _has_any(directory: Path, names: Iterable[str]) -> bool:
    return any((directory / name).is_file() for name in names)


def _saved() -> str:
    return "the archive's root must hold what model.save_pretrained(folder) and tokenizer.save_pretrained(folder) write"
