"""Names of media types, and the choice of one from an Accept header (RFC 9110, section 12.5.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from polyhost.handlers.errors import NotAcceptableError

JSON = "application/json"
JSON_LINES = "application/jsonlines"
CSV = "text/csv"
NPY = "application/x-npy"
IMAGE = "application/x-image"
JPEG = "image/jpeg"
PNG = "image/png"
TEXT = "text/plain"
LIBSVM = "text/libsvm"
MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"

ARRAYS = (JSON, CSV, JSON_LINES, NPY)  # what predictions are written as
# Spellings that clients use for the same thing.
_ALIASES = {
    "application/x-jsonlines": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/csv": CSV,
    "text/x-libsvm": LIBSVM,
    "image/jpg": JPEG,
}


@dataclass(frozen=True)
class MediaType:
    """A name in its usual spelling, and its parameters by lower-case names."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(text: str) -> "MediaType":
        name, *parameters = (part.strip() for part in text.split(";"))
        return MediaType(_canonical(name), dict(_parameter(part) for part in parameters if part))


@lru_cache(maxsize=256)  # callers send the same few headers again and again
def choose(accept: str, offered: tuple[str, ...], default: str) -> str:
    """Return the best of `offered` for an Accept header, and `default` without one. Raises NotAcceptableError."""
    qualities = _qualities(accept)
    if not qualities:
        return default
    ranked = sorted(_default_first(default, offered), key=lambda name: -_rank(name, qualities))
    if not ranked or _rank(ranked[0], qualities) <= 0:
        raise NotAcceptableError(f"Accept {accept!r} cannot be served; this model responds in {', '.join(offered)}")
    return ranked[0]


@lru_cache(maxsize=256)
def preferred(accept: str, default: str) -> str:
    """Return the client's first choice as sent, without its quality, for a script that can write any type.

    A wildcard leaves the choice to the default.
    """
    ranges = [part.strip() for part in accept.split(",") if part.strip()]
    best = max(ranges, key=_range_quality, default="")
    if not best or "*" in best.partition(";")[0] or not _range_quality(best):
        return default
    return _without_quality(best)


def _canonical(name: str) -> str:
    name = name.strip().lower()
    return _ALIASES.get(name, name)


def _default_first(default: str, offered: Iterable[str]) -> list[str]:
    return sorted(offered, key=lambda name: name != default)


def _qualities(accept: str) -> dict[str, float]:
    parsed = (MediaType.parse(part) for part in accept.split(",") if part.strip())
    return {media_range.name: _quality(media_range.parameters.get("q", "1")) for media_range in parsed}


def _range_quality(media_range: str) -> float:
    return _quality(MediaType.parse(media_range).parameters.get("q", "1"))


def _without_quality(media_range: str) -> str:
    """Return the range with its own parameters, spelled and spaced as they were sent."""
    kept = [part for part in media_range.split(";") if part.partition("=")[0].strip().lower() != "q"]
    return ";".join(kept).strip()


def _rank(name: str, qualities: Mapping[str, float]) -> float:
    """Return the quality of the most specific range that covers the name."""
    type_ = name.partition("/")[0]
    return next((qualities[key] for key in (name, f"{type_}/*", "*/*") if key in qualities), 0.0)


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def _parameter(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip().lower(), value.strip().strip('"')
