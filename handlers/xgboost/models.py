"""XGBoost's models: read from a file of any form that it writes, and what they say of their columns."""

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import xgboost
from xgboost.core import XGBoostError

from polyhost.events import get_logger
from polyhost.handlers import model_files
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.number_columns import Categories
from polyhost.handlers.xgboost import files

logger = get_logger(__name__)

# Where XGBoost's sources say what failed: a time, a file of C++, and, behind the reason, addresses.
_PLACE = re.compile(r"^\[[\d:]+\] \S+?:\d+: ")
_TRACE = "\nStack trace:"
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)')
_UBJSON_VERSION = re.compile(rb"version\[#L.{8}i(.)i(.)", re.DOTALL)
_END = 200  # bytes of a file in which its version is, as XGBoost sorts the keys
_OLD_FORM = (
    "; if it is in the binary form of XGBoost before 2.1, convert it where that version is installed: "
    'booster.load_model("OLD"); booster.save_model("model.ubj")'
)


def read(path: Path) -> Any:
    """Return the Booster in a file. Raises BadModelError, which names the file and what is wrong with it."""
    start = model_files.read_start(path, 4096)
    if files.is_pickle(start):
        return _unpickled(path)
    if not (files.is_json(start) or files.is_ubjson(start)):
        raise BadModelError(
            f"{path.name} is no model of XGBoost: neither JSON nor UBJSON nor a pickled Booster{_OLD_FORM}"
        )
    content = path.read_bytes()
    if not content[-_END:].rstrip().endswith(b"}"):  # XGBoost would read on behind the end of a UBJSON that is cut off
        raise BadModelError(f"{path.name} is cut off: it does not end in a closing brace; save it or copy it again")
    version = _version_in(content)
    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(content))  # of a path, XGBoost goes by the suffix
    except XGBoostError as error:
        raise _load_error(path, error, version) from error
    if version and version[0] > _running()[0]:
        logger.warning(
            "%s was saved by XGBoost %d.%d, which is newer than this one (%s)", path.name, *version, xgboost.__version__
        )
    return booster


def reason(error: Exception) -> str:
    """Return what an error of XGBoost says, without places in its sources."""
    return _PLACE.sub("", str(error).partition(_TRACE)[0]).replace("\n", " ").strip()


def best_iterations(booster: Any) -> int:
    """Return how many rounds of boosting make the answer: up to the best one if it stopped early; 0 for all."""
    best = booster.attr("best_iteration")
    return int(best) + 1 if best is not None and best.isdecimal() else 0


def predicts_in_place(booster: Any) -> bool:
    """Return whether the booster takes arrays; a linear one takes its own matrices only."""
    return bool(json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] != "gblinear")


def categories(booster: Any) -> Mapping[int, Categories]:
    """Return the categories of the columns that hold any, by position; of older models only that they do."""
    places = [place for place, kind in enumerate(booster.feature_types or ()) if kind == "c"]
    if not places:
        return {}
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    kept = model.get("gbtree", model)["model"].get("cats", {}).get("enc", [])
    return {place: Categories(_values(kept[place]) if place < len(kept) else ()) for place in places}


def _values(column: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a column's categories: numbers, or texts one behind the other in UTF-8, and where each begins."""
    values = column.get("values", [])
    if "offsets" not in column:
        return tuple(values)
    texts = bytes(value & 0xFF for value in values)
    return tuple(texts[start:end].decode(errors="replace") for start, end in pairwise(column["offsets"]))


def _unpickled(path: Path) -> Any:
    """Unpickle a Booster, as SageMaker's XGBoost image stored them up to its version 1.2."""
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # XGBoost's, of every pickle of another version
            booster = pickle.load(file)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        raise _load_error(path, error, None, _OLD_FORM) from error
    if not isinstance(booster, xgboost.Booster):
        raise BadModelError(
            f"{path.name} holds a pickled {type(booster).__name__}, not a Booster; name the file model.pkl, which is "
            "served as an estimator of scikit-learn's kind"
        )
    booster.set_param({"nthread": 1})
    return booster


def _load_error(path: Path, error: Exception, version: tuple[int, int] | None, remedy: str = "") -> BadModelError:
    saved = f" {version[0]}.{version[1]}" if version else " of unknown version"
    return BadModelError(
        f"{path.name} cannot be loaded: {type(error).__name__}: {reason(error)}; it was saved by XGBoost{saved}, "
        f"this is {xgboost.__version__}{remedy}"
    )


def _version_in(content: bytes) -> tuple[int, int] | None:
    end = content[-_END:]
    if found := _JSON_VERSION.search(end):
        return int(found[1]), int(found[2])
    if found := _UBJSON_VERSION.search(end):
        return found[1][0], found[2][0]
    return None


def _running() -> tuple[int, int]:
    major, minor, *_ = xgboost.__version__.split(".")
    return int(major), int(minor)
