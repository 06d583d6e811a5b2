"""Import of the module that a handler's name refers to: a file of the archive, or an installed module.

MMS imports in a fresh Python, with the model directory first on its path (mms/model_loader.py). Here the process has
imported a framework already, so a name may be taken: then the archive's module gets another one.
"""

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from polyhost.handlers import import_path, lookup
from polyhost.handlers.errors import HandlerNotFoundError
from polyhost.handlers.script import main_module


def imported(handler: str, directory: Path) -> ModuleType:
    """Import the module of "package.module:name", "file.py:name" or "folder/file.py:name": the archive's if it has one.

    Raises HandlerNotFoundError, and whatever the module raises.
    """
    name = handler.partition(":")[0]
    path = lookup.handler_file(name, directory)
    if path is None:
        import_path.put_first(*lookup.module_roots(directory))
        return _import_installed(name, handler, directory)
    by_path = name.endswith(".py") or "/" in name
    parts = _parts_by_path(path, directory) if by_path else name.split(".")
    if len(parts) == 1 and path.stem != "__init__":
        import_path.put_first(path.parent, *lookup.module_roots(directory))
        return _import_file(path)
    if not by_path:
        return _import_member(path, parts, directory)
    import_path.put_first(path.parent)
    module = _import_member(path, parts, directory)
    sys.modules.setdefault(path.stem, module)  # MMS imports it by this name, and pickles may refer to it
    return module


def _import_installed(name: str, handler: str, directory: Path) -> ModuleType:
    try:
        return _imported_by_name(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise  # the handler was found; something that it imports is missing
        raise HandlerNotFoundError(
            f"handler {handler!r}: no file {name} in {directory} and no installed module of that name"
        ) from None


def _import_file(path: Path) -> ModuleType:
    """Import by path under the file's own name, unless that name is taken: a handler mxnet.py must not hide MXNet."""
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_handler_file"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerNotFoundError(f"handler {path} is not a Python file")
    return _executed(name, spec)


def _parts_by_path(path: Path, directory: Path) -> list[str]:
    """Return the dotted name's parts: a file is a member of the folders above it that have an `__init__.py`."""
    parts, folder = [path.stem], path.parent
    while folder != directory and folder.name.isidentifier() and (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return parts


def _import_member(path: Path, parts: list[str], directory: Path) -> ModuleType:
    """Import a module of a package, so that it may import its neighbours by `from .neighbour import name`."""
    folder = path.parent if path.stem == "__init__" else path
    for _ in parts[1:]:
        folder = folder.parent  # ends at the outermost package
    import_path.put_first(folder.parent, *lookup.module_roots(directory))
    import_path.put_last(path.parent)
    top = parts[0]
    if _is_taken(top, folder):
        top = f"{top}_handler_package"
        _executed(top, _package_spec(top, folder))
    return _imported_by_name(".".join([top, *parts[1:]]))


def _is_taken(name: str, folder: Path) -> bool:
    """Return whether `import name` gives something else: a folder without `__init__.py` comes after all others."""
    if name in sys.modules:
        return True
    spec = importlib.util.find_spec(name)
    return not (spec and spec.submodule_search_locations and str(folder) in spec.submodule_search_locations)


def _package_spec(name: str, folder: Path) -> ModuleSpec:
    source = folder / "__init__.py"
    if source.is_file():
        found = importlib.util.spec_from_file_location(name, source, submodule_search_locations=[str(folder)])
        assert found is not None, "the suffix .py has a loader"
        return found
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def _imported_by_name(name: str) -> ModuleType:
    module = importlib.import_module(name)
    main_module.stand_in().add(module)
    return module


def _executed(name: str, spec: ModuleSpec) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    main_module.stand_in().add(module)  # before it runs: it may unpickle
    if spec.loader is not None:
        spec.loader.exec_module(module)
    return module
