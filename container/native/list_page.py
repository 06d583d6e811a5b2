"""Pages of the list of models: what the query says of them."""

import base64
import binascii
import reprlib

from polyhost.container.native.errors import bad_request

_DEFAULT_LIST_LIMIT = 100
_MAX_LIST_LIMIT = 1000


def encode_page_token(last_name: str) -> str:
    return base64.urlsafe_b64encode(last_name.encode()).decode()


def decode_page_token(token: str) -> str:
    """Return the name after which the list page begins."""
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise bad_request(f"invalid next_page_token {token!r}") from None


def parse_limit(value: str) -> int:
    if not value:
        return _DEFAULT_LIST_LIMIT
    if not value.isdecimal() or len(value) > 4 or not 1 <= int(value) <= _MAX_LIST_LIMIT:
        message = f"limit is {reprlib.repr(value)}; it must be a whole number from 1 to {_MAX_LIST_LIMIT}"
        raise bad_request(message)
    return int(value)
