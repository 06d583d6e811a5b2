"""CORS as function URLs and HTTP APIs have it: configured, and answered in place of the function (Fetch standard)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from polyhost.emulator.gateway.http_types import SiteRequest

_SCHEMES = ("http://*", "https://*")  # what an origin may be a pattern of


@dataclass(frozen=True)
class CorsSettings:
    origins: tuple[str, ...]
    methods: tuple[str, ...]
    allowed_headers: tuple[str, ...]
    exposed_headers: tuple[str, ...]
    credentials: bool
    max_age_s: int | None

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Read a configuration; Lambda's members begin with capital letters, API Gateway's do not."""
        given = {name.lower(): value for name, value in members.items()}
        age = given.get("maxage")
        return cls(
            origins=tuple(given.get("alloworigins") or ()),
            methods=tuple(given.get("allowmethods") or ()),
            allowed_headers=tuple(given.get("allowheaders") or ()),
            exposed_headers=tuple(given.get("exposeheaders") or ()),
            credentials=bool(given.get("allowcredentials")),
            max_age_s=None if age is None else int(age),
        )

    @staticmethod
    def is_preflight(request: SiteRequest) -> bool:
        """Return whether a browser asks if it may make a request."""
        return request.method == "OPTIONS" and request.header("access-control-request-method") is not None

    def headers(self, request: SiteRequest) -> list[tuple[str, str]]:
        """Return the headers of a response; none if the page's origin is not allowed."""
        origin = request.header("origin")
        if origin is None or not self._allows(origin):
            return []
        headers = [("Access-Control-Allow-Origin", "*" if "*" in self.origins else origin)]
        if self.exposed_headers:
            headers.append(("Access-Control-Expose-Headers", ",".join(self.exposed_headers)))
        if self.credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        return headers

    def preflight_headers(self, request: SiteRequest) -> list[tuple[str, str]]:
        """Return the headers of the response to a preflight request."""
        headers = self.headers(request)
        if headers and self.methods:
            headers.append(("Access-Control-Allow-Methods", ",".join(self.methods)))
        if headers and self.allowed_headers:
            headers.append(("Access-Control-Allow-Headers", ",".join(self.allowed_headers)))
        if headers and self.max_age_s is not None:
            headers.append(("Access-Control-Max-Age", str(self.max_age_s)))
        return headers

    def _allows(self, origin: str) -> bool:
        patterns = (pattern[:-1] for pattern in self.origins if pattern in _SCHEMES)
        return "*" in self.origins or origin in self.origins or any(map(origin.startswith, patterns))
