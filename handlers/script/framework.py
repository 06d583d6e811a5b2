"""Which framework a script belongs to: the one of its model, else of the archive's files, else of its imports."""

from pathlib import Path

from polyhost.handlers import frameworks, imports, lookup
from polyhost.handlers.base import Source
from polyhost.handlers.script import model_parts
from polyhost.handlers.script.defaults import Defaults, NoFrameworkDefaults, NoHandler
from polyhost.handlers.script.functions import STEPS

_HUGGING_FACE = "polyhost.handlers.script.hugging_face:HuggingFaceDefaults"


def needed(functions: set[str]) -> bool:
    """Return whether the script's functions leave something to do."""
    return "model_fn" not in functions or not ("transform_fn" in functions or functions.issuperset(STEPS))


def by_archive(script: Path, source: Source) -> str | None:
    """Return the framework that the archive's files fit, else the one that the script imports."""
    files = lookup.frameworks_in(source.directory)
    if len(files) == 1:
        return files[0]
    if model_parts.HUGGING_FACE_IMPORTS.intersection(imports.of(script)):
        return model_parts.HUGGING_FACE
    return lookup.framework_by_imports(script)


def defaults(name: str | None, source: Source) -> Defaults:
    """Return the defaults of a framework, or of none. Raises ImportError if it is not installed."""
    if name is None:
        return NoFrameworkDefaults(NoHandler(source.settings))
    row = frameworks.named("torch" if name == model_parts.HUGGING_FACE else name)
    kind = _HUGGING_FACE if name == model_parts.HUGGING_FACE else row.script_defaults
    made: Defaults = frameworks.resolve(kind)(frameworks.resolve(row.handler)(source.settings))
    return made
