"""Which handler serves a model. One set of rules for the worker, the fork server and `polyhost check`.

The first that names a handler decides, as in Multi Model Server (ModelManager.java):

1. the load request (`handler`), which SageMaker does not use. Behind MMS a load always names one: what MMS has chosen
   by these rules;
2. the archive's `MAR-INF/MANIFEST.json`;
3. the setting (`SAGEMAKER_HANDLER`, `--handler`);
4. polyhost's own, `SERVICE`. It takes the archive's script where there is one (`SCRIPT`), else the framework that its
   files fit.

A handler is named by "module:name" or "file.py:name"; own_handler.py says what the name may stand for. A file is looked
for at the archive's root, then under `code/`; a module there too, before the installed ones.

Errors: a manifest is read into typed fields, as Multi Model Server does. One that is not JSON, or has another type
where an object or a name is expected, raises HandlerNotFoundError (400): its author meant something by it that would
not happen. One that names no handler is accepted, since it may hold other facts; not with `strict`, which is for the
CLI, whose user can correct it. `framework_of`, which only chooses the zygote to fork, never raises: the load applies
the same rules again, and fails with the reason.

Standard library only: the fork server imports this.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyhost.handlers import frameworks, imports, model_files, recognition
from polyhost.handlers.errors import BadModelError, HandlerError, HandlerNotFoundError
from polyhost.handlers.frameworks import SCRIPT
from polyhost.handlers.script import submitted_code
from polyhost.handlers.settings import DEFAULT_PROGRAM, SUBMIT_DIRECTORY, Settings

SERVICE = "polyhost.handlers.service:handle"
MANIFEST = Path("MAR-INF") / "MANIFEST.json"
SCRIPT_HANDLER = "polyhost.handlers.script.handler:ScriptHandler"

# Its name before there was a package, which settings and archives use, and what means the same.
_SERVICE_NAMES = frozenset({"handlers.service:handle", "polyhost.handlers.service", SERVICE})
_CODE = "code"
_MAX_MANIFEST = 1 << 18  # bytes
_MAX_ENTRIES = 2_000  # at an archive's root, of which the fork server looks at each
_RUNTIMES = ("python", "python2", "python3")
_PYTHON = re.compile(r"python[ -]?\d*(\.\d+)*", re.IGNORECASE)

Manifest = dict[str, Any]


def canonical(handler: str) -> str:
    """Return the handler's name, polyhost's own in its long form."""
    return SERVICE if handler in _SERVICE_NAMES else handler


def read_manifest(directory: Path) -> Manifest | None:
    """Return the archive's manifest, None without one. Raises HandlerNotFoundError."""
    path = directory / MANIFEST
    if not path.is_file():
        return None
    content = model_files.read_start(path, _MAX_MANIFEST + 1)
    if len(content) > _MAX_MANIFEST:
        raise HandlerNotFoundError(f"{MANIFEST} has more than {_MAX_MANIFEST} bytes; keep other facts in other files")
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HandlerNotFoundError(f"{MANIFEST} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise HandlerNotFoundError(f"{MANIFEST} holds a {type(manifest).__name__}; it must hold an object")
    check_runtime(manifest.get("runtime", _RUNTIMES[0]), str(MANIFEST))
    return manifest


def check_runtime(runtime: Any, where: str, *, strict: bool = False) -> None:
    """Raise HandlerNotFoundError unless the runtime is a Python. Whichever it names, it is the one that runs this.

    `strict` allows those only that Multi Model Server has (Manifest.java).
    """
    is_python = isinstance(runtime, str) and _PYTHON.fullmatch(runtime)
    if runtime not in _RUNTIMES if strict else not is_python:
        raise HandlerNotFoundError(
            f'{where}: "runtime" is {json.dumps(runtime)[:100]}; it must be one of {", ".join(_RUNTIMES)}, '
            "each of which is this container's Python"
        )


def handler_name(
    manifest: Manifest | None, setting: str | None = None, *, requested: str | None = None, strict: bool = False
) -> str:
    """Return the name of the handler to import; `requested` is the load request's. Raises HandlerNotFoundError."""
    if requested:
        return canonical(requested)
    named = None if manifest is None else _named_in(manifest, strict and not setting)
    return canonical(named or setting or SERVICE)


def describe(directory: Path, setting: str | None, settings: Settings, *, strict: bool = False) -> str:
    """Return what serves the folder: a handler's name, `SCRIPT`, or a framework's name. Raises HandlerError."""
    manifest = read_manifest(directory)
    if strict and manifest is not None:
        check_runtime(manifest.get("runtime", _RUNTIMES[0]), str(MANIFEST), strict=True)
    named = handler_name(manifest, setting, strict=strict)
    return choose(directory, settings) if named == SERVICE else named


def choose(directory: Path, settings: Settings) -> str:
    """Return what of polyhost's own serves the folder: `SCRIPT`, or a framework's name. Raises BadModelError."""
    if script_in(directory, settings) is not None:
        return SCRIPT
    if settings.submit_directory is not None and not settings.multi_model:
        raise BadModelError(
            f"{SUBMIT_DIRECTORY}={settings.submit_directory!r}: there is no {settings.program} (SAGEMAKER_PROGRAM) "
            f"there, nor in the archive; put it into the archive, below {_CODE}/"
        )
    return framework_by_files(directory, settings)


def handler_class(name: str) -> str:
    """Return "module:Class" for what `choose` has chosen."""
    return SCRIPT_HANDLER if name == SCRIPT else frameworks.registered()[name].handler


def framework_of(directory: Path, setting: str | None, settings: Settings, requested: str | None = None) -> str | None:
    """Return the framework whose zygote to fork for this folder, None for the one without a framework.

    Raises nothing: whatever is wrong with the model is found again, and reported, by its load. The fork server, which
    serves all models, asks this: so it takes milliseconds and megabytes at most, whatever the folder holds.
    """
    try:
        named = handler_name(read_manifest(directory), setting, requested=requested)
        script = script_in(directory, settings)
        sources = [script] if named == SERVICE else [source_file(_module_of(named), directory), script]
        code = [source for source in sources if source is not None]
        files = model_files.visible_files(directory, _MAX_ENTRIES)
        certain = recognition.by_names(files)
        by_files = certain[0] if len(certain) == 1 else None
        by_imports = next(filter(None, map(framework_by_imports, code)), None)
        found = by_imports or by_files or next(filter(None, map(_lightest_for, code)), None)
        # What a file with an ambiguous name holds is looked at in the model's own process. Where this guess is wrong,
        # that imports its framework itself.
        return found or (None if certain or code or named != SERVICE else recognition.guessed(files))
    except (HandlerError, OSError, ValueError):
        return None


def handler_file(module: str, directory: Path) -> Path | None:
    """Return the Python file of the archive that a handler's "file.py" or "package.module" names, if it is one."""
    if module.endswith(".py"):
        candidates = [module]
    elif "/" in module:
        candidates = [f"{module}.py", module]
    else:
        candidates = [f"{module.replace('.', '/')}{end}" for end in ("/__init__.py", ".py")]
    # An absolute name replaces the root.
    paths = (root / candidate for root in module_roots(directory) for candidate in candidates)
    return next((path for path in paths if path.is_file()), None)


def source_file(module: str, directory: Path) -> Path | None:
    """Return the source of a handler's module, in the archive or installed, as far as it is a file."""
    if found := handler_file(module, directory):
        return found
    if module.endswith(".py") or "/" in module:
        return None
    relative = module.replace(".", "/")
    roots = (*module_roots(directory), *map(Path, sys.path))
    paths = (root / name for root in roots for name in (f"{relative}/__init__.py", f"{relative}.py"))
    return next((path for path in paths if path.is_file()), None)


def module_roots(directory: Path) -> tuple[Path, Path]:
    """Return the folders of the archive in which a handler is looked for, in order."""
    return directory, directory / _CODE


def script_in(directory: Path, settings: Settings) -> Path | None:
    """Return the script: in the archive, one under code/ before one at the root; or beside it, as the settings say.

    The lone model of a container is served by the code that was submitted with it. Among many models each comes first
    with its own.
    """
    names = dict.fromkeys((settings.program, DEFAULT_PROGRAM))
    submitted = submitted_code.folder(settings)
    places: list[tuple[Path, ...]] = [(directory / _CODE, directory)]
    if submitted is not None:
        places.insert(len(places) if settings.multi_model else 0, (submitted,))
    candidates = (folder / name for folders in places for name in names for folder in folders)
    return next((path for path in candidates if path.is_file()), None)


def framework_by_files(directory: Path, settings: Settings) -> str:
    """Return the one framework that the files fit. Raises BadModelError."""
    fitting = recognition.in_folder(directory)
    if len(fitting) != 1:
        raise BadModelError(_no_choice(directory, fitting, settings))
    return fitting[0]


def framework_by_imports(source: Path) -> str | None:
    """Return the framework that a source file imports; the source is not executed."""
    imported = imports.of(source)
    rows = frameworks.registered().values()
    return next((row.name for row in rows if imported.intersection(row.imports)), None)


def _module_of(handler: str) -> str:
    return handler.partition(":")[0]


def _named_in(manifest: Manifest, strict: bool) -> str | None:
    model = manifest.get("model")
    handler = model.get("handler") if isinstance(model, dict) else model
    if handler is None or handler == "":
        if strict:
            raise HandlerNotFoundError(
                f'{MANIFEST} names no handler; write {{"model": {{"handler": "FILE.py:handle"}}}}, or remove it'
            )
        return None
    if not isinstance(model, dict) or not isinstance(handler, str):
        raise HandlerNotFoundError(
            f'{MANIFEST} names no handler: "model" is {json.dumps(model)[:100]}; write '
            '{"model": {"handler": "FILE.py:handle"}}'
        )
    return handler


def _lightest_for(source: Path) -> str | None:
    return frameworks.LIGHTEST if imports.of(source).intersection(frameworks.COMMON_IMPORTS) else None


def _no_choice(directory: Path, fitting: Sequence[str], settings: Settings) -> str:
    reason = (
        f"files of {len(fitting)} frameworks fit ({', '.join(fitting)})" if fitting else "nothing here can be served"
    )
    unrecognized = [] if fitting else recognition.unrecognized(directory)
    if unrecognized:
        reason += f"; no model of a framework here begins as {', '.join(unrecognized)}"
    accepted = "; ".join(
        f"{name}: {recognition.described(row)}"
        for name, row in frameworks.registered().items()
        if row.files or row.shared_files
    )
    broken = "".join(
        f"; the handler plugin {name} is not used: {why}" for name, why in frameworks.broken_plugins().items()
    )
    return (
        f"{reason}; found at the archive's root: {model_files.listed(model_files.visible(directory))}; "
        f"accepted: script: {settings.program} at the root or under {_CODE}/; {accepted}{broken}"
    )
