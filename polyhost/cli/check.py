"""`polyhost check`: load a model in a process like a worker of the container, and invoke it."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from polyhost.cli import archive, child, environment, extras, in_new_python, in_process, output, packages, request_body
from polyhost.cli.child import Ending
from polyhost.cli.errors import CommandError
from polyhost.cli.handler_lookup import absolute_handler
from polyhost.cli.in_process import LoadReport, PredictionReport, Trial
from polyhost.cli.packages import Installed
from polyhost.cli.work_dir import work_dir


def check(
    model: Annotated[Path, typer.Argument(metavar="ARCHIVE|DIR", exists=True, help="A packed model, or its folder.")],
    body: Annotated[
        str | None, typer.Option(metavar="FILE", help="A request to send; - reads the standard input.")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option(help="Media type of the body; by default that of its file's name.")
    ] = None,
    accept: Annotated[str | None, typer.Option(help="Media type of the response.")] = None,
    repeat: Annotated[int, typer.Option(min=0, metavar="N", help="Requests after the first, for the warm time.")] = 5,
    handler: Annotated[str | None, typer.Option(help="As in polyhost serve: MODULE:FUNCTION, or a file.")] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of a failure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load a model here, as the container would; with --body also predict. Print timings, memory and the response."""
    extras.require("serve", "polyhost check")
    name = model.resolve().name
    with work_dir() as work:
        environment.fetch_submitted_code(work)  # not in the child, which may end in any way
        folder, temp_dir = _folder_of(model, work), work / "tmp"
        temp_dir.mkdir()
        installed = packages.install(folder, work)
        if installed is not None and installed.isolated:
            raise typer.Exit(in_new_python.check_again(installed))
        site = installed.site if installed else None
        trial = Trial(name, folder, absolute_handler(handler), temp_dir, traceback, layer=site)
        if body is not None:
            media_type = content_type or request_body.media_type(body)
            trial = replace(trial, body=request_body.read(body), content_type=media_type, accept=accept, repeat=repeat)
        load, prediction = _reports(name, child.results_of(in_process.run(trial)))
    if prediction and prediction.status >= 400:
        raise CommandError(_describe_failure(prediction))
    (_print_json if as_json else _print_text)(load, prediction, installed)


def _folder_of(model: Path, work: Path) -> Path:
    """Return the model directory; an archive is unpacked into one below `work`."""
    if model.is_dir():
        return model.resolve()
    folder = work / "model"
    folder.mkdir()
    archive.unpack(model, folder)
    return folder


def _reports(name: str, results: list[Any]) -> tuple[LoadReport, PredictionReport | None]:
    match results:
        case [LoadReport() as load]:
            return load, None
        case [LoadReport() as load, PredictionReport() as prediction]:
            return load, prediction
        case [Ending() as ending]:
            raise CommandError(f"{name} does not load: its code ended the process, which {ending}")
        case [LoadReport(), Ending() as ending]:
            raise CommandError(f"the model's code ended the process during a request: it {ending}")
    raise AssertionError(results)


def _describe_failure(prediction: PredictionReport) -> str:
    body = _readable(prediction.body, prediction.content_type)
    if isinstance(body, dict) and "message" in body:
        where = f" in phase {body['phase']}" if "phase" in body else ""
        return f"the model returned {prediction.status}{where}: {body['message']} ({body.get('type', 'error')})"
    return f"the model returned {prediction.status}: {body}"


def _readable(body: bytes, content_type: str) -> Any:
    """Return a JSON body as a value, and any other as text."""
    try:
        return json.loads(body) if content_type.startswith("application/json") else _text(body, content_type)
    except ValueError:
        return _text(body, content_type)


def _text(body: bytes, content_type: str) -> str:
    """Return the body if it is text, else its size."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return f"<{output.size(len(body))} of {content_type or 'unknown type'}>"


def _print_json(load: LoadReport, prediction: PredictionReport | None, installed: Installed | None) -> None:
    response = prediction and {**asdict(prediction), "body": _readable(prediction.body, prediction.content_type)}
    found = {} if installed is None else {"packages": list(installed.packages)}
    output.print_json({**asdict(load), **found, "answer": response})


def _print_text(load: LoadReport, prediction: PredictionReport | None, installed: Installed | None) -> None:
    facts = [
        *([("packages", str(installed))] if installed else []),
        ("handler", load.handler),
        ("framework", f"{load.framework}, imported in {load.import_s:.2f} s" if load.framework else "none"),
        ("loaded in", f"{load.load_s:.3f} s"),
        ("memory", f"+{load.memory_mb:.1f} MB"),
    ]
    if prediction:
        warm = f", then {prediction.warm_ms:.2f} ms (median)" if prediction.warm_ms is not None else ""
        facts.append(("predicts in", f"{prediction.first_ms:.2f} ms{warm}"))
        facts.append(("answer", f"{prediction.status} {prediction.content_type}".rstrip()))
    output.print_columns(facts)
    if prediction:
        typer.echo(_text(prediction.body, prediction.content_type))
