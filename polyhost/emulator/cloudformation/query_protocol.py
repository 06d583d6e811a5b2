"""AWS's query protocol for CloudFormation: forms in, XML out, by botocore's model of the service."""

import uuid
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from moto.core.parse import QueryParser
from moto.core.serialize import QuerySerializer, SerializationContext
from moto.core.utils import get_service_model

from polyhost.emulator.errors import AwsError

CONTENT_TYPE = b"text/xml"
_NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


class QueryProtocol:
    """Parses requests, and encodes responses and errors."""

    def __init__(self) -> None:
        self._model = get_service_model("cloudformation")

    @staticmethod
    def form(body: bytes) -> dict[str, str]:
        """Return the fields of a request's form."""
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))

    def parse(self, operation: str, form: dict[str, str]) -> dict[str, Any]:
        """Return the members of a request."""
        request: Any = {"values": form, "body": b"", "headers": {}, "method": "POST", "url_params": {}, "url_path": "/"}
        members: dict[str, Any] = QueryParser(self._model.operation_model(operation)).parse(request)
        return members

    def encode(self, operation: str, members: dict[str, Any]) -> bytes:
        """Return the body of a response; members that are None are left out."""
        context = SerializationContext(str(uuid.uuid4()))
        body = QuerySerializer(self._model.operation_model(operation), context).serialize(members)["body"]
        return body if isinstance(body, bytes) else body.encode()


def encode_error(error: AwsError) -> bytes:
    """Return the body of an error."""
    kind = "Sender" if error.status < 500 else "Receiver"
    shown = f"<Type>{kind}</Type><Code>{escape(error.code)}</Code><Message>{escape(error.message or '')}</Message>"
    request_id = f"<RequestId>{uuid.uuid4()}</RequestId>"
    return f'<ErrorResponse xmlns="{_NAMESPACE}"><Error>{shown}</Error>{request_id}</ErrorResponse>'.encode()
