"""The settings of a model store; container/config.py reads them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from polyhost.model_cache.model_url import ModelData

SCHEMES = ("s3", "gs", "az", "https", "http")
_URL = re.compile(r"(?P<scheme>[a-z0-9]+)://(?P<place>[^/?#]+)/?(?P<path>[^?#]*)")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_FORMS = "an absolute folder, s3://BUCKET/PREFIX/, gs://BUCKET/PREFIX/, az://CONTAINER/PREFIX/ or https://HOST/PATH/"


@dataclass(frozen=True)
class StoreSettings:
    """`where` is an absolute folder or a prefix's URL, `unpack_dir` where archives are unpacked (None: not chosen yet).

    `load_at_start` and `pinned` are patterns for names of models. `drain_s`: for how long requests are still accepted
    after SIGTERM.
    """

    where: str
    unpack_dir: str | None
    unpack_bytes: int | None
    check_s: int
    load_at_start: tuple[str, ...]
    pinned: tuple[str, ...]
    drain_s: int = 0
    page: tuple[str, ...] | None = None  # None: there is no page; else names by which browsers know this container

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Self:
        """Read what `dataclasses.asdict` has made of it."""
        names = ("load_at_start", "pinned", *(() if values["page"] is None else ("page",)))
        return cls(**{**values, **{name: tuple(values[name]) for name in names}})

    @property
    def prefix(self) -> ModelData:
        """What all models' keys begin with."""
        return parse_address(self.where)

    @property
    def folder(self) -> Path | None:
        """The store, if it is a folder."""
        prefix = self.prefix
        return Path(prefix.key) if prefix.bucket is None else None

    @property
    def model_roots(self) -> tuple[Path, ...]:
        """Where models lie: unpacked archives, and the folders of a store that is one."""
        unpacked = (Path(self.unpack_dir),) if self.unpack_dir else ()
        return (*unpacked, *((self.folder,) if self.folder else ()))


def parse_address(value: str) -> ModelData:
    """Read the address of a store. Raises ValueError, which says what it may be."""
    places = re.split(r"[\s,]+", value)
    if len(places) > 1 and all(place.startswith("/") or "://" in place for place in places):
        raise ValueError(f"names {len(places)} stores; give one, with all models below it")
    if value.startswith("file:///"):
        value = value.removeprefix("file://")
    if value.startswith("/"):
        return ModelData(None, value.rstrip("/") + "/")
    parts = _URL.fullmatch(value)
    if parts is None or parts["scheme"] not in SCHEMES:
        raise ValueError(f"must be {_FORMS}")
    path = parts["path"]
    return ModelData(parts["place"], path if path.endswith("/") or not path else f"{path}/", parts["scheme"])


def address(value: str) -> str:
    """Check the address of a store, and return it as it was given."""
    parse_address(value)
    return value


def patterns(value: str) -> tuple[str, ...]:
    """Read patterns for names of models, separated by spaces or commas; `*` stands for any characters."""
    return tuple(value.replace(",", " ").split())


def is_pattern(name: str) -> bool:
    """Return whether it stands for any number of names."""
    return bool(set(name) & set("*?["))


def page(value: str) -> tuple[str, ...] | None:
    """Read `off`, `on`, or names of hosts by which browsers know the container."""
    if value.lower() in ("off", "on"):
        return None if value.lower() == "off" else ()
    names = patterns(value.lower())
    if not all(map(_HOST.fullmatch, names)):
        raise ValueError("must be on, off, or names of hosts without a port, such as models.example.com")
    return names
