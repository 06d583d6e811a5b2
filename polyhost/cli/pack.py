"""`polyhost pack`: write a model's folder as an archive for SageMaker."""

from pathlib import Path
from typing import Annotated

import typer

from polyhost.cli import archive, environment, output, packages
from polyhost.cli.errors import CommandError
from polyhost.cli.handler_lookup import describe_handler
from polyhost.cli.work_dir import work_dir


def pack(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="The folder with the model's files.")
    ],
    target: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="The archive to write.")
    ] = Path("model.tar.gz"),
    handler: Annotated[
        str | None, typer.Option(metavar="HANDLER", help="Serve it with this handler, as in polyhost serve.")
    ] = None,
    with_wheels: Annotated[
        bool,
        typer.Option("--with-wheels", help="Put in the packages that requirements.txt asks for and the image lacks."),
    ] = False,
    image_packages: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="What the image has, as pip freeze prints it; by default what this environment has.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing archive.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that a handler can serve the folder, and write it as a gzip-compressed tar."""
    if image_packages is not None and not with_wheels:
        raise CommandError("--image-packages says what --with-wheels leaves out; give both")
    if target.exists() and not force:
        raise CommandError(f"{target} exists; replace it with --force, or write elsewhere with -o")
    with work_dir() as work:
        environment.fetch_submitted_code(work)
        description = describe_handler(folder, handler)
        wheels = packages.collect_wheels(folder, work, image_packages) if with_wheels else None
        names = archive.pack(folder, target, wheels)
    size = target.stat().st_size
    if as_json:
        output.print_json({"archive": str(target), "bytes": size, "handler": description, "members": names})
    else:
        members = f"{len(names)} member" + "s" * (len(names) != 1)
        typer.echo(f"{target}: {output.size(size)}, {members}, served by the {description} handler")
        if with_wheels:
            typer.echo(_describe_wheels(names))


def _describe_wheels(names: list[str]) -> str:
    """Say which wheels the archive has, and how it has to be served."""
    found = [name.rpartition("/")[2] for name in names if name.startswith("code/wheels/") and name.endswith(".whl")]
    if not found:
        return "no wheels: the image has all that requirements.txt asks for"
    return f"wheels: {', '.join(found)}; serve it with POLYHOST_REQUIREMENTS=wheels"
