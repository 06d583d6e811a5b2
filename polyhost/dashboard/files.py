"""The page's files, which ship with the package, and the headers that belong to them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = "/_polyhost"
FILES = f"{ROOT}/static/"
INDEX = "index.html"
HEADERS = {
    # Clients choose the names of models: even if one got into the document as markup, no script in it would run.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True)
class StaticFile:
    """One file, whole."""

    content_type: str
    content: bytes


def static_file(name: str) -> StaticFile | None:
    """Return the file of this name, or None if the page has no such file."""
    if name not in _names():
        return None
    path = _FOLDER / name
    return StaticFile(_TYPES[path.suffix], path.read_bytes())


@cache
def _names() -> frozenset[str]:
    return frozenset(path.name for path in _FOLDER.iterdir() if path.suffix in _TYPES)
