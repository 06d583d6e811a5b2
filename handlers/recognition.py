"""Which files at an archive's root are a framework's model: by their names, or by what they begin with.

Names such as `model.json` and `labels.txt` say little. A file of such a name counts only where no other file says what
the archive is, so that archives with such files beside their model are served as ever. Looking into files is for the
model's own process and the command line; the fork server, which serves all models, goes by names alone.

Standard library only: the fork server imports this.
"""

from collections.abc import Sequence
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

from polyhost.handlers import frameworks, model_files
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.frameworks import Framework
from polyhost.handlers.settings import DEFAULT_PROGRAM

START = 4096  # bytes of a file that are looked at
_MOST_FILES = 100  # that are looked into; an archive has one model and a few files beside it


def by_names(names: Sequence[str]) -> list[str]:
    """Return the frameworks that one of the files certainly belongs to."""
    return [row.name for row in _rows() if _fitting(names, row.files)]


def guessed(names: Sequence[str]) -> str | None:
    """Return the first framework that one of the files may belong to, by names that files of other kinds have too."""
    return next((row.name for row in _rows() if _fitting(names, row.shared_files)), None)


def in_folder(directory: Path) -> list[str]:
    """Return the frameworks whose models are at the root; more than one is an archive that needs a script."""
    names = model_files.visible_files(directory)
    return by_names(names) or [row.name for row in _rows() if _recognized(directory, names, row)]


def only_file(directory: Path, framework: str) -> Path:
    """Return the one file that is the framework's model. Raises BadModelError if none is, or several are."""
    row = frameworks.named(framework)
    names = model_files.visible_files(directory)
    found = sorted(_fitting(names, row.files) or _recognized(directory, names, row))
    if len(found) != 1:
        raise BadModelError(
            f"expected one model of {framework}, {described(row)}, at the archive's root, found "
            f"{', '.join(found) or 'nothing'}; keep one, or add an {DEFAULT_PROGRAM} with a model_fn"
        )
    return directory / found[0]


def unrecognized(directory: Path) -> list[str]:
    """Return the files that could have been a model by their names."""
    names = model_files.visible_files(directory)
    return sorted({name for row in _rows() for name in _fitting(names, row.shared_files)})


def described(row: Framework) -> str:
    """Return which files the framework's models are, for an error's text."""
    shared = f"{', '.join(row.shared_files)} that {row.name} wrote" if row.shared_files else ""
    return " or ".join(filter(None, (", ".join(row.files), shared)))


def _rows() -> Sequence[Framework]:
    return list(frameworks.registered().values())


def _fitting(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _recognized(directory: Path, names: Sequence[str], row: Framework) -> list[str]:
    if row.recognizes is None:
        return []
    is_model = frameworks.resolve(row.recognizes)
    candidates = islice(_fitting(names, row.shared_files), _MOST_FILES)
    return [name for name in candidates if is_model(model_files.read_start(directory / name, START))]
