"""Which framework a script belongs to: the one of its model, else of the archive's files, else of its imports."""

from pathlib import Path

from polyhost.handlers import frameworks, lookup, recognition
from polyhost.handlers.base import Source
from polyhost.handlers.script.defaults import Defaults, NoFrameworkDefaults, NoHandler
from polyhost.handlers.script.functions import STEPS


def needed(functions: set[str]) -> bool:
    """Return whether the script's functions leave something to do."""
    return "model_fn" not in functions or not ("transform_fn" in functions or functions.issuperset(STEPS))


def by_archive(script: Path, source: Source) -> str | None:
    """Return the framework that the archive's files fit, else the one that the script imports."""
    files = recognition.in_folder(source.directory)
    if len(files) == 1:
        return files[0]
    return lookup.framework_by_imports(script)


def defaults(name: str | None, source: Source) -> Defaults:
    """Return the defaults of a framework, or of none. Raises ImportError if it is not installed."""
    if name is None:
        return NoFrameworkDefaults(NoHandler(source.settings))
    row = frameworks.named(name)
    made: Defaults = frameworks.resolve(row.script_defaults)(frameworks.resolve(row.handler)(source.settings))
    return made
