"""moto's server, with our changes to its services, as a function from a request to a response."""

import logging
from contextlib import closing
from typing import Any

from botocore.model import OperationNotFoundError
from flask import Flask
from flask import request as flask_request
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import MethodNotAllowed, NotFound

from polyhost.emulator.errors import AwsError, NotEmulated
from polyhost.emulator.moto_services.errors import Call, MotoResponse

SERVICE = "polyhost.service"  # the environ's key for the name of moto's service
_GENERIC = "action has not been implemented"  # what moto says of operations that it does not know
# Parts of buckets and objects that moto's S3 takes for the whole: for a bucket's metrics it would delete the bucket.
_UNKNOWN_TO_S3 = frozenset(
    (
        *("abac", "analytics", "annotation", "intelligent-tiering", "metadataAnnotationTable", "metadataConfiguration"),
        *("metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "renameObject"),
        *("requestPayment", "session", "torrent"),
    )
)

logger = logging.getLogger(__name__)


class MotoServer:
    """Has moto answer requests; what moto lacks or fails at becomes an error of AWS."""

    def __init__(self) -> None:
        self._applications = _Applications()

    def respond(self, environ: dict[str, Any]) -> MotoResponse:
        """Return the response to a WSGI request. Blocks; any thread may call it."""
        failure: AwsError
        try:
            return self._call(environ)
        except (NotImplementedError, OperationNotFoundError) as error:
            call = _call(environ)
            failure = NotEmulated(_not_emulated(call, error))
            logger.warning("%s", failure)
        except Exception as error:
            call = _call(environ)
            logger.exception("operation %s of %s failed in moto", call.operation, call.service)
            failure = AwsError(f"the emulator failed: {error!r}")
        return call.error_response(failure)

    def reject(self, environ: dict[str, Any], error: AwsError) -> MotoResponse:
        """Return an error as the response to a WSGI request."""
        return _call(environ).error_response(error)

    def _call(self, environ: dict[str, Any]) -> MotoResponse:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            started.append((status, headers))

        with closing(self._applications(environ, start_response)) as chunks:
            body = list(chunks)
        status, headers = started[-1]
        number = int(status.split(" ", 1)[0])
        if number == 404 and not any(body) and environ["REQUEST_METHOD"] != "HEAD" and environ[SERVICE] != "s3":
            # moto's response if no operation has this method and path.
            raise NotImplementedError
        encoded = [(name.lower().encode("latin-1"), value.strip().encode("latin-1")) for name, value in headers]
        return MotoResponse(number, encoded, body)


class _Applications(DomainDispatcherApplication):
    def __init__(self) -> None:
        super().__init__(_create_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        app = self.get_application(environ)
        environ[SERVICE] = app.service  # type: ignore[attr-defined]
        names = {parameter.partition("=")[0] for parameter in environ["QUERY_STRING"].split("&")}
        if environ[SERVICE] == "s3" and names & _UNKNOWN_TO_S3:
            raise NotImplementedError
        return app(environ, start_response)

    def get_backend_for_host(self, host: str | None) -> Any:
        # moto would print that it has no such service, and fail later.
        if str(host).endswith(".amazonaws.com") and not self._is_known(str(host)):
            raise NotImplementedError
        return super().get_backend_for_host(host)

    def _is_known(self, host: str) -> bool:
        return any(pattern.match(f"http://{host}") for _, pattern in self.backend_url_patterns)


def _create_app(service: Any) -> Flask:
    app = create_backend_app(service)
    for routing_error in (NotFound, MethodNotAllowed):
        app.register_error_handler(routing_error, _raise_routing_error)
    if service == "cloudformation":
        from polyhost.emulator.moto_services.templates import use_safe_loader

        use_safe_loader()
    elif service == "iam":
        from polyhost.emulator.moto_services.managed_policies import add_aws_policies
        from polyhost.emulator.moto_services.policy_simulation import add_to_iam

        add_to_iam()
        add_aws_policies()
    elif service == "cloudwatch":
        from polyhost.emulator.alarms import metric_reads, moto_operations

        moto_operations.add_to_cloudwatch()
        metric_reads.add_to_cloudwatch()
    elif service == "awslambda":
        from polyhost.emulator.functions.moto_operations import add_to_lambda

        add_to_lambda()
    elif service == "s3":
        from polyhost.emulator.functions.s3_events import add_to_s3

        add_to_s3()
    elif service == "sns":
        from polyhost.emulator.functions.sns_events import add_to_sns

        add_to_sns()
    elif service == "apigateway":
        from polyhost.emulator.gateway.http_api_operations import add_to_apigatewayv2
        from polyhost.emulator.gateway.moto_operations import add_to_apigateway

        add_to_apigateway()
        add_to_apigatewayv2(app)  # the same service to moto
    elif service == "applicationautoscaling":
        from polyhost.emulator.autoscaling.moto_operations import add_to_application_auto_scaling

        add_to_application_auto_scaling()
    return app


def _raise_routing_error(error: Any) -> Any:
    """Tell a request that no route takes from a response of moto's."""
    if flask_request.routing_exception is not None:
        raise NotImplementedError
    return error


def _call(environ: dict[str, Any]) -> Call:
    environ["wsgi.input"].seek(0)
    return Call(environ.get(SERVICE) or _signed_service(environ) or "s3", environ)


def _signed_service(environ: dict[str, Any]) -> str:
    _, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")
    parts = rest.split(",")[0].split("/")
    return parts[3] if len(parts) >= 5 else ""


def _not_emulated(call: Call, error: Exception) -> str:
    detail = "" if isinstance(error, OperationNotFoundError) or _GENERIC in str(error) else str(error)
    return f"The emulator does not have the operation {call.operation} of {call.service}" + (
        f": {detail}" if detail else "."
    )
