"""Functions in an emulator, and what most tests do with them."""

import io
import json
import textwrap
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from polyhost.emulator import aws_clients
from tests.emulator.conftest import REGION, AnyEmulator

ROLE_NAME = "runs-functions"
ROLE = f"arn:aws:iam::123456789012:role/{ROLE_NAME}"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


def function_zip(**files: str) -> bytes:
    """Return a zip with these modules, named without `.py`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, source in files.items():
            archive.writestr(f"{name}.py", textwrap.dedent(source))
    return content.getvalue()


@dataclass
class ClientsOf:
    """An emulator in another process."""

    url: str

    def client(self, service: str, region: str) -> Any:
        """Return a client of boto3."""
        return aws_clients.client(service, region, self.url)


@dataclass
class Lambda:
    """Clients of an emulator, in which the role of the functions exists."""

    emulator: AnyEmulator
    client: Any = field(init=False)
    logs: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client, self.logs, iam = (self.emulator.client(name, REGION) for name in ("lambda", "logs", "iam"))
        with suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=json.dumps(_TRUST))

    def create(self, name: str, source: str, **members: Any) -> dict[str, Any]:
        """Create a function with this module `app`, whose `handler` is called."""
        settings = {"Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE, "Timeout": 60}
        code = {"ZipFile": function_zip(app=source)}
        created: dict[str, Any] = self.client.create_function(
            **{"FunctionName": name, "Code": code, **settings, **members}
        )
        return created

    def invoke(self, name: str, event: object = None, **members: Any) -> dict[str, Any]:
        """Call a function; Payload is what it has returned."""
        response: dict[str, Any] = self.client.invoke(FunctionName=name, Payload=json.dumps(event), **members)
        response["Payload"] = json.loads(response["Payload"].read() or b"null")
        return response

    def returned(self, name: str, event: object = None, **members: Any) -> Any:
        """Return what a call that must succeed has returned."""
        response = self.invoke(name, event, **members)
        assert "FunctionError" not in response, response
        return response["Payload"]

    def log_lines(self, name: str) -> list[str]:
        """Return all lines that are published by now."""
        try:
            events = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in events]
