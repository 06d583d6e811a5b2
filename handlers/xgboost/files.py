"""How a file of XGBoost begins. Standard library only: this is asked before anything is imported."""

import re

_JSON = re.compile(rb"\s*\{")
_JSON_LEARNER = re.compile(rb'"learner"\s*:\s*\{')  # first as XGBoost writes it; another program may order the keys
_UBJSON = b"{L\0\0\0\0\0\0\0\x07learner{"
_PICKLED_BOOSTER = re.compile(rb"xgboost\.core\W{1,4}Booster")


def is_model(start: bytes) -> bool:
    """Return whether a file that begins so is a model: JSON, UBJSON, or a pickled Booster."""
    return is_json(start) or is_ubjson(start) or is_pickle(start)


def is_json(start: bytes) -> bool:
    return bool(_JSON.match(start) and _JSON_LEARNER.search(start))


def is_ubjson(start: bytes) -> bool:
    return start.startswith(_UBJSON)


def is_pickle(start: bytes) -> bool:
    return bool(_PICKLED_BOOSTER.search(start[:200])) and not is_json(start)
