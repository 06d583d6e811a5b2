"""Names of media types, and the choice of one from an Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

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

IMAGES = (IMAGE, JPEG, PNG)
ARRAYS = (JSON, CSV, JSON_LINES, NPY)
# Spellings that clients use for the same thing.
ALIASES = {
    "application/x-jsonlines": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/csv": CSV,
    "image/jpg": JPEG,
}


@dataclass(frozen=True)
class MediaType:
    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(text: str) -> MediaType:
        name, *parameters = (part.strip() for part in text.split(";"))
        return MediaType(canonical(name), dict(_parameter(part) for part in parameters if part))


def canonical(name: str) -> str:
    name = name.strip().lower()
    return ALIASES.get(name, name)


@lru_cache(maxsize=256)  # callers send the same few headers again and again
def choose(accept: str, offered: tuple[str, ...], default: str) -> str:
    """The best of `offered` for an Accept header; `default` where the client has no wish."""
    wishes = _wishes(accept)
    if not wishes:
        return default
    ranked = sorted(_preferring(default, offered), key=lambda name: -_rank(name, wishes))
    if not ranked or _rank(ranked[0], wishes) <= 0:
        raise NotAcceptableError(f"Accept {accept!r} cannot be served; this model answers in {', '.join(offered)}.")
    return ranked[0]


def preferred(accept: str, default: str) -> str:
    """The client's first concrete wish, for a script that can answer in any type."""
    wishes = sorted(_wishes(accept).items(), key=lambda wish: -wish[1])
    names = [name for name, quality in wishes if quality > 0]
    return names[0] if names and "*" not in names[0] else default


def _preferring(default: str, offered: Iterable[str]) -> list[str]:
    return sorted(offered, key=lambda name: name != default)


def _wishes(accept: str) -> dict[str, float]:
    parsed = (MediaType.parse(part) for part in accept.split(",") if part.strip())
    return {wish.name: _quality(wish.parameters.get("q", "1")) for wish in parsed}


def _rank(name: str, wishes: Mapping[str, float]) -> float:
    """The quality of the most specific wish that covers the name."""
    kind = name.partition("/")[0]
    return next((wishes[key] for key in (name, f"{kind}/*", "*/*") if key in wishes), 0.0)


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def _parameter(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip().lower(), value.strip().strip('"')
