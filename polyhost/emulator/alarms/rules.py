"""Rules of composite alarms: functions of other alarms' states with AND, OR, NOT (CloudWatch, PutCompositeAlarm)."""

import re
from collections.abc import Callable

from polyhost.emulator.alarms.alarm import AlarmState

StateOf = Callable[[str], AlarmState | None]  # of an alarm by its name, None if it does not exist
_Condition = Callable[[StateOf], bool]

_TOKEN = re.compile(
    r'\s*(?:(?P<word>AND|OR|NOT|TRUE|FALSE)\b|(?P<call>[A-Z_]+)\s*\(\s*(?P<name>"[^"]*"|[^()]*?)\s*\)|(?P<mark>[()]))'
)
_ARN = re.compile(r"arn:[^:]*:cloudwatch:[^:]*:[^:]*:alarm:(.+)")


class AlarmRule:
    """A rule. Raises ValueError, which says what is wrong and where."""

    def __init__(self, text: str) -> None:
        self.names: list[str] = []
        self._text = text
        self._place = 0
        self._condition = self._either()
        if self._place < len(text.rstrip()):
            raise self._error("an operator is missing")

    def holds(self, state_of: StateOf) -> bool:
        """Tell whether the composite alarm is in ALARM."""
        return self._condition(state_of)

    def _either(self) -> _Condition:
        parts = [self._all()]
        while self._take_word("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda state_of: any(part(state_of) for part in parts)

    def _all(self) -> _Condition:
        parts = [self._one()]
        while self._take_word("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda state_of: all(part(state_of) for part in parts)

    def _one(self) -> _Condition:
        token = self._next()
        if token is None:
            raise self._error("something is missing")
        self._place = token.end()
        if token["call"]:
            return self._state(token["call"], token["name"])
        if token["mark"] == "(":
            inner = self._either()
            closing = self._next()
            if closing is None or closing["mark"] != ")":
                raise self._error("a closing parenthesis is missing")
            self._place = closing.end()
            return inner
        if token["word"] == "NOT":
            negated = self._one()
            return lambda state_of: not negated(state_of)
        if token["word"] in ("TRUE", "FALSE"):
            return lambda _: token["word"] == "TRUE"
        raise self._error("an operator has nothing before it")

    def _state(self, function: str, argument: str) -> _Condition:
        if function not in list(AlarmState):
            raise ValueError(f"the emulator does not have {function}() of AlarmRule, but {', '.join(AlarmState)}")
        name = argument.strip('"')
        if found := _ARN.fullmatch(name):
            name = found[1]
        self.names.append(name)
        return lambda state_of: state_of(name) == function

    def _take_word(self, word: str) -> bool:
        token = self._next()
        if token is None or token["word"] != word:
            return False
        self._place = token.end()
        return True

    def _next(self) -> re.Match[str] | None:
        return _TOKEN.match(self._text, self._place)

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"AlarmRule {self._text!r}: {reason} at character {self._place + 1}")
