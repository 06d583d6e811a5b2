"""The dashboard at /_polyhost/: static files that ship with the package."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "static"
_FILES = ("icon.svg", "dashboard.css", "dashboard.js")
_HEADERS = {
    # Clients choose the names of models: even if one got into the document as markup, no script in it would run.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def dashboard_routes() -> list[Route]:
    """Return the routes of the dashboard's files."""
    return [
        Route("/_polyhost", _redirect),
        Route("/_polyhost/", _index),
        Route("/_polyhost/static/{name}", _static_file),
    ]


async def _redirect(request: Request) -> Response:
    return RedirectResponse("/_polyhost/")


async def _index(request: Request) -> Response:
    return FileResponse(_FOLDER / "index.html", headers=_HEADERS)


async def _static_file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _FILES:
        return Response("no such file\n", 404, media_type="text/plain")
    return FileResponse(_FOLDER / name, headers=_HEADERS)
