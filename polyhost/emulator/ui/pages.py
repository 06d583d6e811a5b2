"""The page at /_polyhost/: files that ship with the package."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "page"
_FILES = ("icon.svg", "page.css", "page.js")
_HEADERS = {
    # Names of models are anybody's: even if one got into the page as markup, nothing of it would run.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def page_routes() -> list[Route]:
    return [
        Route("/_polyhost", _to_page),
        Route("/_polyhost/", _index),
        Route("/_polyhost/page/{name}", _file),
    ]


async def _to_page(request: Request) -> Response:
    return RedirectResponse("/_polyhost/")


async def _index(request: Request) -> Response:
    return FileResponse(_FOLDER / "index.html", headers=_HEADERS)


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _FILES:
        return Response("no such file\n", 404, media_type="text/plain")
    return FileResponse(_FOLDER / name, headers=_HEADERS)
