"""LightGBM's models: read from the text that `save_model` writes, and what they say of their columns.

LightGBM 4.7 ends the process where it cannot read a tree, or has no memory for one: it reads trees in OpenMP's threads,
which pass on no exception. Without the sizes of the trees in the text it reads them one by one, and says what is wrong.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
from lightgbm.basic import LightGBMError

from polyhost.events import get_logger
from polyhost.handlers import model_files
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.lightgbm import files
from polyhost.handlers.number_columns import Categories

logger = get_logger(__name__)

_SIZES = re.compile(r"^tree_sizes=(.*)\n", re.MULTILINE)
_VERSION = re.compile(r"^version=v(\d+)$", re.MULTILINE)
_END = "\nend of trees"
_KNOWN_VERSION = 4
_HEADER = 10_000_000  # characters before the first tree; names of a million columns fit
_INFOS = re.compile(r"^feature_infos=(.*)$", re.MULTILINE)
_CATEGORY_CODES = re.compile(r"-?\d+(:-?\d+)*")
_OWN_NAMES = re.compile(r"Column_\d+")  # which LightGBM gives columns that have none


def read(path: Path) -> Any:
    """Return the Booster in a file. Raises BadModelError, which names the file and what is wrong with it."""
    if not files.is_model(model_files.read_start(path, 4096)):
        raise BadModelError(
            f"{path.name} is no model of LightGBM, which begins with the line 'tree'; write it with "
            "booster.save_model('model.txt')"
        )
    try:
        text = path.read_bytes().decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadModelError(f"{path.name} is not utf-8: {error.reason} at byte {error.start}") from None
    sizes, version = _SIZES.search(text, 0, _HEADER), _VERSION.search(text, 0, _HEADER)
    if _END not in text:
        raise BadModelError(f"{path.name} is truncated: it has no line 'end of trees'")
    trees = len(sizes[1].split()) if sizes else None
    booster = _loaded(path, _SIZES.sub("", text, count=1), f"v{version[1]}" if version else "of no version")
    if trees is not None and booster.num_trees() != trees:
        raise BadModelError(f"{path.name} is damaged: it has {booster.num_trees()} trees, and says that it has {trees}")
    if version and int(version[1]) > _KNOWN_VERSION:
        logger.warning(
            "%s has the format v%s, which is newer than this LightGBM's (%s, v%d)",
            path.name,
            version[1],
            lightgbm.__version__,
            _KNOWN_VERSION,
        )
    return booster


def names(booster: Any) -> list[str]:
    """Return the columns' names, none where LightGBM made them up."""
    found = [str(name) for name in booster.feature_name()]
    return [] if all(map(_OWN_NAMES.fullmatch, found)) else found


def categories(booster: Any) -> Mapping[int, Categories]:
    """Return the categories of a model that was trained on a table of pandas, by the columns' positions.

    The file has their values in the order of the columns, and not which columns those are: that is seen by what it says
    of each column's values. Raises BadModelError where that does not tell. A value that training had not is missing.
    """
    infos = _INFOS.search(booster.model_to_string(num_iteration=1), 0, _HEADER)
    kinds = infos[1].split() if infos else []
    places = [place for place, kind in enumerate(kinds) if _CATEGORY_CODES.fullmatch(kind)]
    values = booster.pandas_categorical or []
    if not values:
        return {place: Categories() for place in places}
    if len(values) != len(places):
        raise BadModelError(
            f"the model was trained on a table with {len(values)} columns of categories, and its file says of "
            f"{len(places)} columns that they hold any; train it on their codes, or add an inference.py"
        )
    return {place: Categories(tuple(each), closed=False) for place, each in zip(places, values, strict=True)}


def _loaded(path: Path, text: str, version: str) -> Any:
    try:
        return lightgbm.Booster(model_str=text)
    except LightGBMError as error:
        raise BadModelError(
            f"{path.name} cannot be loaded: {type(error).__name__}: {error}; its format is {version}, this is LightGBM "
            f"{lightgbm.__version__}"
        ) from error
