"""Puts the code that every load runs side by side, so that workers copy fewer memory pages for it.

Running a function writes to its code object: its count of references, and caches in its bytecode (CPython 3.11 on). An
import scatters code objects among constants, names and functions that no worker runs, about one to a page. Copies that
are made one after the other share pages: a logistic regression's worker has 0.4 MB less of its own.

polyhost's own functions only: libraries may keep notes on their code objects, as torch.compile does.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any

_OWN = "polyhost."


def executed_by(run: Callable[[], object]) -> dict[int, CodeType]:
    """Run something, and return the code of all Python functions that it called, by id: equal ones may be several."""
    codes: dict[int, CodeType] = {}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            codes[id(frame.f_code)] = frame.f_code

    former = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(former)
    return codes


def own_functions(codes: dict[int, CodeType]) -> list[FunctionType]:
    """Return polyhost's functions that have one of these codes.

    Found from its modules, not among `gc.get_objects()`: that list would write a reference count to every object, and a
    worker that has been forked already would no longer share them.
    """
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(_OWN)]
    waiting: list[object] = [value for module in modules for value in vars(module).values()]
    seen: set[int] = set()
    found = []
    while waiting:
        value = waiting.pop()
        if id(value) in seen or not str(getattr(value, "__module__", _OWN)).startswith(_OWN):
            continue
        seen.add(id(value))
        if isinstance(value, type):
            waiting += vars(value).values()
        elif isinstance(value, property):
            waiting += (value.fget, value.fset, value.fdel)
        elif isinstance(value, FunctionType):
            waiting += _cell_contents(value)
            if id(value.__code__) in codes:
                found.append(value)
        for inside in ("__wrapped__", "__func__", "func"):  # of decorated functions, methods, and a cached_property
            waiting.append(getattr(value, inside, None))
    return found


def _cell_contents(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            yield cell.cell_contents


def place(functions: Iterable[FunctionType], codes: dict[int, CodeType]) -> None:
    """Give each function a new copy of its code, and of the codes inside it, such as comprehensions.

    Memory should have no holes now. Python has to specialize the bytecode of the copies anew.
    """
    copies: dict[int, CodeType] = {}

    def copy(code: CodeType) -> CodeType:
        if id(code) not in codes:
            return code
        if id(code) not in copies:
            constants = (copy(item) if isinstance(item, CodeType) else item for item in code.co_consts)
            copies[id(code)] = code.replace(co_consts=tuple(constants))
        return copies[id(code)]

    for function in functions:
        function.__code__ = copy(function.__code__)
