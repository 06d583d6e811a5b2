"""All of AWS apart from hosting: moto's S3, STS, IAM, ECR, CloudWatch, Logs, SNS and more, in this process."""

from typing import Any

_THREADS = 16


def moto_application() -> Any:
    """Return moto's server as an ASGI application."""
    from a2wsgi import WSGIMiddleware
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    dispatcher: Any = DomainDispatcherApplication(create_backend_app)
    return WSGIMiddleware(dispatcher, workers=_THREADS)
