"""`polyhost pack`: write a model's folder as an archive for SageMaker."""

from pathlib import Path
from typing import Annotated

import typer

from polyhost.cli import archive, output
from polyhost.cli.errors import CommandError
from polyhost.cli.handler_lookup import describe_handler


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
    force: Annotated[bool, typer.Option("--force", help="Replace an existing archive.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that a handler can serve the folder, and write it as a gzip-compressed tar."""
    if target.exists() and not force:
        raise CommandError(f"{target} exists; replace it with --force, or write elsewhere with -o")
    description = describe_handler(folder, handler)
    names = archive.pack(folder, target)
    size = target.stat().st_size
    if as_json:
        output.print_json({"archive": str(target), "bytes": size, "handler": description, "members": names})
    else:
        members = f"{len(names)} member" + "s" * (len(names) != 1)
        typer.echo(f"{target}: {output.size(size)}, {members}, served by the {description} handler")
