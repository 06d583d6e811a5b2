"""Metric math, as far as alarms on endpoints need it: arithmetic, comparisons, and some functions.

A value is a number, or None where a period has no data. CloudWatch user guide, "Using math expressions".
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping

Value = float | None

_BINARY: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.BitXor: operator.pow,  # in CloudWatch ^ is the power
}
_COMPARISONS: dict[type[ast.AST], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OF_ONE: dict[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
_OF_LISTS: dict[str, Callable[[list[float]], float]] = {
    "SUM": math.fsum,
    "AVG": lambda values: math.fsum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
_FUNCTIONS = (*_OF_ONE, *_OF_LISTS, "FILL", "IF", "METRICS")


class MetricMath:
    """An expression over the metrics of an alarm. Raises ValueError, which names what it cannot be."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            tree = ast.parse(_in_python(text), mode="eval")
        except (SyntaxError, ValueError, RecursionError):
            raise ValueError(f"{text!r} is not an expression that the emulator can read") from None
        self._root = tree.body
        self.names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in _FUNCTIONS}
        for node in ast.walk(tree.body):
            self._check(node)

    def value(self, values: Mapping[str, Value]) -> Value:
        """Return the value for those of the metrics in one period."""
        return self._value(self._root, values)

    def _check(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else "?"
            arguments = {"FILL": 2, "IF": 3, "METRICS": 0}.get(name, 1)
            if name not in _FUNCTIONS:
                raise ValueError(f"the emulator does not have {name}() of {self.text!r}, but {', '.join(_FUNCTIONS)}")
            if len(node.args) != arguments or node.keywords:
                raise ValueError(f"{name}() of {self.text!r} has {arguments} arguments in the emulator")
            if name == "FILL" and not _is_number(node.args[1]):
                raise ValueError(f"FILL() of {self.text!r} can only fill with a number in the emulator")
            if name in _OF_LISTS and not isinstance(node.args[0], ast.List | ast.Call):
                raise ValueError(f"{name}() of {self.text!r} needs a list such as [m1, m2], or METRICS()")
        elif isinstance(node, ast.Constant):
            if not _is_number(node):
                raise ValueError(f"{node.value!r} of {self.text!r} is not a number")
        elif not isinstance(node, (*_SYNTAX, *_BINARY, *_COMPARISONS)):
            raise ValueError(f"{type(node).__name__} of {self.text!r} is not supported by the emulator")

    def _value(self, node: ast.AST, values: Mapping[str, Value]) -> Value:
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, ast.BinOp):
            return _binary(_BINARY[type(node.op)], *(self._value(side, values) for side in (node.left, node.right)))
        if isinstance(node, ast.UnaryOp):
            inner = self._value(node.operand, values)
            if inner is None:
                return None
            return (
                float(not inner) if isinstance(node.op, ast.Not) else -inner if isinstance(node.op, ast.USub) else inner
            )
        if isinstance(node, ast.BoolOp):
            parts = [self._value(part, values) for part in node.values]
            if any(part is None for part in parts):
                return None
            return float(all(parts) if isinstance(node.op, ast.And) else any(parts))
        if isinstance(node, ast.Compare):
            left, right = (self._value(side, values) for side in (node.left, node.comparators[0]))
            return None if left is None or right is None else float(_COMPARISONS[type(node.ops[0])](left, right))
        assert isinstance(node, ast.Call)
        return self._call(node, values)

    def _call(self, node: ast.Call, values: Mapping[str, Value]) -> Value:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in _OF_LISTS:
            known = [value for value in self._list(node.args[0], values) if value is not None]
            return _OF_LISTS[name](known) if known else None
        first = self._value(node.args[0], values)
        if name == "FILL":
            return self._value(node.args[1], values) if first is None else first
        if first is None:
            return None
        return self._value(node.args[1 if first else 2], values) if name == "IF" else float(_OF_ONE[name](first))

    def _list(self, node: ast.AST, values: Mapping[str, Value]) -> Iterator[Value]:
        if isinstance(node, ast.List):
            return (self._value(item, values) for item in node.elts)
        return iter(values.values())


_SYNTAX = (
    *(ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.List),
    *(ast.And, ast.Or, ast.Not, ast.USub, ast.UAdd),
)


def _in_python(text: str) -> str:
    """Return the expression with Python's operators."""
    text = text.replace("&&", " and ").replace("||", " or ")
    return re.sub(r"!(?!=)", " not ", text).strip()


def _is_number(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_number(node.operand)
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _binary(compute: Callable[[float, float], float], left: Value, right: Value) -> Value:
    if left is None or right is None:
        return None
    try:
        result = compute(left, right)
    except (ZeroDivisionError, OverflowError):
        return None  # as CloudWatch: no data point
    return result if isinstance(result, float) and math.isfinite(result) else None
