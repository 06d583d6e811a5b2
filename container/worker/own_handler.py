"""A handler of MMS's interface: what its name stands for, how it is initialised, and what is called for requests.

As in MMS (mms/model_loader.py), the name stands for a function, which is called once without data to load the model,
or, without one, for the only class of the module, whose `initialize` loads it. Beyond MMS, the name may be that
of a class, of an object with a method `handle`, or of such a method.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from polyhost.container.worker.handler_module import imported
from polyhost.events import get_logger
from polyhost.handlers import lookup
from polyhost.handlers.errors import HandlerNotFoundError

_ENTRY = "handle"
# Classes of SageMaker's inference toolkit that look at the first request's headers only (sagemaker_inference 1.10.1).
_SINGLE_REQUEST_MODULES = frozenset({"sagemaker_inference.default_handler_service", "sagemaker_inference.transformer"})

logger = get_logger(__name__)


@dataclass(frozen=True)
class Entry:
    """What is called with the data of requests and the context.

    `takes_batches`: whether it keeps several requests apart. Otherwise it has to be called for each of them.
    """

    call: Callable[[Any, Any], Any]
    takes_batches: bool = True


def load(handler: str, directory: Path, context: Any) -> Entry:
    """Import the handler and initialise it. Raises HandlerNotFoundError, and whatever the handler raises."""
    module = imported(handler, directory)
    service, call = _service_and_call(module, handler.partition(":")[2] or _ENTRY, handler)
    if service is None:
        call(None, context)
    elif callable(initialize := getattr(service, "initialize", None)):
        initialize(context)
    if handler == lookup.SERVICE:
        return Entry(call, module.takes_batches())
    return Entry(call, not any(map(_takes_single_requests, (service, *vars(module).values()))))


def _service_and_call(module: ModuleType, name: str, handler: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    """Return the object to initialise, None for a function, and what to call for requests."""
    named = _attribute(module, name)
    if named is None or (name == _ENTRY and not callable(named)):
        named = _only_class(module, handler)
        if name != _ENTRY:
            logger.warning("%s: %s has no %s; its class %s serves", handler, module.__name__, name, named.__name__)
    if inspect.isclass(named):
        named = _made(named, handler)
    if callable(call := getattr(named, _ENTRY, None)):
        return named, call
    if callable(named):
        owner = _attribute(module, name.rpartition(".")[0])
        return owner if hasattr(owner, "initialize") else None, named
    raise HandlerNotFoundError(
        f"{handler}: {name} is a {type(named).__name__}; it must be a function {name}(data, context), or a class or an "
        f"object with a method {_ENTRY}"
    )


def _attribute(module: ModuleType, path: str) -> Any:
    try:
        return attrgetter(path)(module) if path else None
    except AttributeError:
        return None


def _only_class(module: ModuleType, handler: str) -> Any:
    own = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and callable(getattr(value, _ENTRY, None))
    ]
    if len(own) != 1:
        found = ", ".join(value.__name__ for value in own) or "none"
        remedy = f"; to serve by one of these, name it: {handler.partition(':')[0]}:{own[0].__name__}" if own else ""
        raise HandlerNotFoundError(
            f"{handler}: a handler module needs a function handle(data, context) or one class with a method handle;"
            f" classes found: {found}{remedy}"
        )
    return own[0]


def _made(kind: Any, handler: str) -> Any:
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise HandlerNotFoundError(
            f"{handler}: {kind.__name__} cannot be made without arguments: {error}; give them defaults"
        ) from error
    except ValueError:
        pass  # some classes of extension modules have no signature
    return kind()


def _takes_single_requests(value: Any) -> bool:
    return any(kind.__module__ in _SINGLE_REQUEST_MODULES for kind in type(value).__mro__)
