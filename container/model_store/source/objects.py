"""Archives in object stores, by way of obstore: S3 and what speaks its protocol, Google's, Azure's, and web servers."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from polyhost.container.errors import ConfigError
from polyhost.container.model_store.source.object_errors import explained
from polyhost.container.model_store.source.object_options import store_options
from polyhost.model_cache.errors import DownloadError
from polyhost.model_cache.interfaces import OpenObject
from polyhost.model_cache.model_url import ModelData

_CHUNK_BYTES = 4 << 20
# A client waits for a cold model: what does not answer within seconds is reported, and the next request asks again.
_RETRY = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
# `timeout` is for a whole response, the download of a large archive included; the cache has a limit for that.
_CLIENT = {"connect_timeout": "5s", "timeout": "3600s", "allow_http": True}


class ObjstoreBucket:
    """An `ObjectStore` for one bucket, container or web server. Its methods block.

    `variables` are those of the environment that the cloud's own clients know.
    """

    def __init__(self, place: ModelData, variables: Mapping[str, str]) -> None:
        self._place = place
        self._store = _open(place, variables)

    def etag(self, bucket: str, key: str) -> str:
        """Return an object's ETag; what has none gets one of its time of modification."""
        try:
            return _etag(self._store.head(key))
        except Exception as error:
            raise self._explained(key, error) from error

    def get(self, bucket: str, key: str) -> OpenObject:
        """Ask for an object."""
        try:
            response = self._store.get(key)
        except Exception as error:
            raise self._explained(key, error) from error
        return OpenObject(_etag(response.meta), int(response.meta["size"]), self._chunks(key, response))

    def _chunks(self, key: str, response: Any) -> Iterator[bytes]:
        chunks = response.stream(min_chunk_size=_CHUNK_BYTES)
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:
                raise self._explained(key, error) from error
            if chunk is None:
                return
            yield chunk

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix that ends with a slash."""
        try:
            for page in self._store.list(prefix=prefix or None):
                yield from (str(meta["path"]) for meta in page)
        except Exception as error:
            raise self._explained(prefix, error) from error

    def _explained(self, key: str, error: Exception) -> DownloadError:
        return explained(self._place.scheme, f"{self._place.scheme}://{self._place.bucket}/{key}", error)


def _etag(meta: Mapping[str, Any]) -> str:
    return str(meta["e_tag"] or f"{meta['last_modified'].isoformat()}-{meta['size']}")


def _open(place: ModelData, variables: Mapping[str, str]) -> Any:
    try:
        from obstore.store import from_url  # only here: a folder needs no library
    except ImportError:
        raise ConfigError(
            f"POLYHOST_MODEL_STORE: {place} takes the package obstore; pip install 'polyhost[store]'"
        ) from None
    options = {"client_options": _CLIENT, "retry_config": _RETRY, **store_options(place.scheme, variables)}
    try:
        return from_url(f"{place.scheme}://{place.bucket}", **options)
    except Exception as error:  # obstore's, of a value that it cannot use
        raise ConfigError(f"POLYHOST_MODEL_STORE: {place} cannot be opened: {error}") from error
