"""`polyhost check`: load a model in this process, as the container would, and ask it once or several times."""

import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from polyhost.cli import archive, output
from polyhost.cli import handler_lookup as choice
from polyhost.cli import in_process as local
from polyhost.cli import request_body as payload
from polyhost.cli.errors import CommandError
from polyhost.cli.in_process import Answer, Loading

CONTAINER_LOGGER = "polyhost.container.worker.model"


def check(
    model: Annotated[Path, typer.Argument(metavar="ARCHIVE|DIR", exists=True, help="A packed model, or its folder.")],
    body: Annotated[
        str | None, typer.Option(metavar="FILE", help="A request to answer; - reads the standard input.")
    ] = None,
    content_type: Annotated[str | None, typer.Option(help="Media type of the body; else by its file's name.")] = None,
    accept: Annotated[str | None, typer.Option(help="Media type of the answer.")] = None,
    repeat: Annotated[int, typer.Option(min=0, metavar="N", help="Requests after the first, to time it warm.")] = 5,
    handler: Annotated[str | None, typer.Option(help="As in polyhost serve: MODULE:FUNCTION, or a file.")] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of a failure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load a model here, as the container would; with --body also predict. Prints timings, memory and the answer."""
    request = None if body is None else (payload.read(body), content_type or payload.media_type(body))
    with _folder_of(model) as folder, _output_of_models(traceback):
        loaded, loading = local.load(folder, model.resolve().name, choice.own_handler(handler))
        answer = None if request is None else local.ask(loaded, *request, accept, repeat)
    if answer and answer.status >= 400:
        raise CommandError(_failure(answer))
    (_print_json if as_json else _print_text)(loading, answer)


@contextlib.contextmanager
def _folder_of(model: Path) -> Iterator[Path]:
    """The model's folder; an archive is unpacked into one that lives as long as the block."""
    if model.is_dir():
        yield model.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="polyhost-check-") as temporary:
        folder = Path(temporary).resolve() / "model"
        folder.mkdir()
        archive.unpack(model, folder)
        yield folder


@contextlib.contextmanager
def _output_of_models(traceback: bool) -> Iterator[None]:
    """What the model prints and logs goes to stderr: stdout is for the result."""
    with ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        log = logging.StreamHandler(sys.stderr)
        # The container logs each failure with its traceback; the sentence alone is printed by this command.
        log.addFilter(lambda record: traceback or record.name != CONTAINER_LOGGER)
        logging.getLogger().addHandler(log)
        stack.callback(logging.getLogger().removeHandler, log)
        yield


def _failure(answer: Answer) -> str:
    body = _readable(answer.body, answer.content_type)
    if isinstance(body, dict) and "message" in body:
        where = f" in phase {body['phase']}" if "phase" in body else ""
        return f"the model answers {answer.status}{where}: {body['message']} ({body.get('type', 'error')})"
    return f"the model answers {answer.status}: {body}"


def _readable(body: bytes, content_type: str) -> Any:
    """The answer as JSON where it is JSON, else as text."""
    try:
        return json.loads(body) if content_type.startswith("application/json") else _text(body, content_type)
    except ValueError:
        return _text(body, content_type)


def _text(body: bytes, content_type: str) -> str:
    """The answer as it is, where it is text, else its size."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return f"<{output.size(len(body))} of {content_type or 'unknown type'}>"


def _print_json(loading: Loading, answer: Answer | None) -> None:
    told = answer and {**asdict(answer), "body": _readable(answer.body, answer.content_type)}
    output.print_json({**asdict(loading), "answer": told})


def _print_text(loading: Loading, answer: Answer | None) -> None:
    facts = [
        ("handler", loading.handler),
        ("framework", f"{loading.framework}, imported in {loading.import_s:.2f} s" if loading.framework else "none"),
        ("loaded in", f"{loading.load_s:.3f} s"),
        ("memory", f"+{loading.memory_mb:.1f} MB"),
    ]
    if answer:
        warm = f", then {answer.warm_ms:.2f} ms (median)" if answer.warm_ms is not None else ""
        facts.append(("predicts in", f"{answer.first_ms:.2f} ms{warm}"))
        facts.append(("answer", f"{answer.status} {answer.content_type}".rstrip()))
    output.print_columns(facts)
    if answer:
        typer.echo(_text(answer.body, answer.content_type))
