"""The dashboard at /_polyhost/: static files that ship with the package."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from polyhost.dashboard.files import FILES, HEADERS, INDEX, ROOT, static_file


def dashboard_routes() -> list[Route]:
    """Return the routes of the dashboard's files."""
    return [
        Route(ROOT, _redirect),
        Route(f"{ROOT}/", _index),
        Route(f"{FILES}{{name}}", _static_file),
    ]


async def _redirect(request: Request) -> Response:
    return RedirectResponse(f"{ROOT}/")


async def _index(request: Request) -> Response:
    return _file(INDEX)


async def _static_file(request: Request) -> Response:
    return _file(request.path_params["name"])


def _file(name: str) -> Response:
    found = static_file(name)
    if found is None:
        return Response("no such file\n", 404, media_type="text/plain")
    return Response(found.content, media_type=found.content_type, headers=HEADERS)
