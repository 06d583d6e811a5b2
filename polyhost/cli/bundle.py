"""`polyhost bundle`: models for a machine without a network."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyhost.bundles import images, models, settings, writer
from polyhost.bundles.errors import BundleError
from polyhost.cli import output
from polyhost.cli.errors import CommandError
from polyhost.cli.work_dir import work_dir


class EngineName(StrEnum):
    """Container engines that save images."""

    DOCKER = "docker"
    PODMAN = "podman"


def bundle(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; nothing may be there.")],
    store: Annotated[
        Path,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="The models: archives or unpacked folders, as for serve."
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A model of the store, or a pattern with *. May be repeated; default: all."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A variable for the container. May be repeated."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", help="The image to serve with: adds ./run for docker and podman.")
    ] = None,
    save_image: Annotated[bool, typer.Option("--save-image", help="Put the image itself into the bundle.")] = False,
    engine: Annotated[EngineName | None, typer.Option(help="Save the image by this engine.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write models, settings, checksums and an image into a folder that a machine without a network serves."""
    if image is None and (save_image or engine is not None):
        raise typer.BadParameter("--save-image and --engine are for an image; give --image NAME as well")
    if engine is not None and not save_image:
        raise typer.BadParameter("--engine saves the image; give --save-image as well")
    try:
        variables = settings.parse(setting or ())
        names = models.choose(store, model or ())
        with work_dir() as work:
            manifest = writer.write(
                target,
                store,
                names,
                variables,
                work=work,
                image=image,
                engine=images.find_engine(engine) if save_image else None,
            )
    except BundleError as error:
        raise CommandError(str(error)) from error
    size = sum(one.bytes for one in manifest.models)
    if as_json:
        found = [{"name": one.name, "bytes": one.bytes} for one in manifest.models]
        output.print_json({"bundle": str(target), "models": found, "image": manifest.image})
    else:
        count = f"{len(manifest.models)} model" + "s" * (len(manifest.models) != 1)
        start = f"polyhost serve --bundle {target}" if manifest.image is None else f"{target}/run"
        typer.echo(f"{target}: {count}, {output.size(size)}; serve it with {start}")
