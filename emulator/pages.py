"""The page at /_polyhost/: files that ship with the package."""

from pathlib import Path

from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

_FOLDER = Path(__file__).parent / "page"


async def _index(request: object) -> FileResponse:
    return FileResponse(_FOLDER / "index.html")


def page_routes() -> list[Route | Mount]:
    return [Route("/_polyhost/", _index), Mount("/_polyhost/page", StaticFiles(directory=_FOLDER))]
