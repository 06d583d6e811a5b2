"""The folders that all models may write to in the standard mode: temp folders, and caches of libraries."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

SHARED_FOLDERS = "POLYHOST_SHARED_FOLDERS"

_TEMP_FOLDERS = ("/tmp", "/dev/shm")  # noqa: S108
# In the home folder, as far as they exist when the container starts; others a model makes in a home of its own.
_CACHES = (".cache", ".nv", ".triton", ".keras", ".torch", ".mxnet", "nltk_data", "scikit_learn_data")
# Variables by which libraries are told where to keep their caches.
CACHE_VARIABLES = (
    "XDG_CACHE_HOME",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "TRANSFORMERS_CACHE",
    "SENTENCE_TRANSFORMERS_HOME",
    "TORCH_HOME",
    "TORCH_EXTENSIONS_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "CUDA_CACHE_PATH",
    "NUMBA_CACHE_DIR",
    "MPLCONFIGDIR",
    "NLTK_DATA",
    "KERAS_HOME",
)


def shared_folders(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the folders, by the environment. Raises ValueError if one in POLYHOST_SHARED_FOLDERS is not absolute."""
    return tuple(dict.fromkeys((*_TEMP_FOLDERS, *_caches(environ), *_named(environ.get(SHARED_FOLDERS, "")))))


def _caches(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME", "")
    for name in _CACHES:
        if Path(home).is_absolute() and Path(home) != Path("/"):
            yield str(Path(home, name))
    for name in CACHE_VARIABLES:
        if Path(folder := environ.get(name, "")).is_absolute():
            yield folder


def _named(value: str) -> Iterator[str]:
    for folder in filter(None, value.split(os.pathsep)):
        if not Path(folder).is_absolute() or Path(folder) == Path("/"):
            raise ValueError("must be absolute paths of folders, separated by colons")
        yield folder
