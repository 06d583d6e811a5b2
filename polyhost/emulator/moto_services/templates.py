"""moto's own reading of CloudFormation's templates, for what it still does itself: stack sets.

It reads them with PyYAML's `Loader`, for which `!!python/object/apply:os.system` is a function to call.
"""

from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

from moto.cloudformation import exceptions, models, responses

from polyhost.emulator.cloudformation.template_text import parse_template
from polyhost.emulator.errors import ValidationError


def use_safe_loader() -> None:
    """Let moto's CloudFormation read templates by `parse_template` only. Calling it again changes nothing."""
    reader = SimpleNamespace(Loader=None, load=_load, add_multi_constructor=_ignore)
    for module in (models, responses):
        setattr(module, "yaml", reader)  # noqa: B010 - to the type checker it is a module
    backend: Any = models.CloudFormationBackend
    # This keeps a stack set before it reads its template.
    method = backend.create_stack_set
    if not hasattr(method, "__wrapped__"):
        backend.create_stack_set = _checking_first(method)


def _load(text: object, Loader: None) -> dict[str, Any]:  # noqa: N803 - the parameter's name in PyYAML
    try:
        return parse_template(text)
    except ValidationError as error:
        raise exceptions.ValidationError(message=error.message) from None


def _ignore(*_: object) -> None:
    """Do not add moto's constructor to PyYAML's loaders, which other code in this process uses too."""


def _checking_first(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def checked(backend: Any, *args: Any, **kwargs: Any) -> Any:
        _load(kwargs["template"] if "template" in kwargs else args[0], Loader=None)
        return method(backend, *args, **kwargs)

    return checked
