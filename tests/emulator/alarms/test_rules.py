"""Rules of composite alarms, and metric math."""

import pytest

from polyhost.emulator.alarms.alarm import AlarmState
from polyhost.emulator.alarms.metric_math import MetricMath
from polyhost.emulator.alarms.rules import AlarmRule

STATES = {"a": AlarmState.ALARM, "b": AlarmState.OK, "c d": AlarmState.INSUFFICIENT_DATA}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(a)", True),
        ('ALARM("b")', False),
        ('INSUFFICIENT_DATA("c d")', True),
        ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:a)", True),
        ("OK(a) OR ALARM(a) AND NOT ALARM(b)", True),
        ("(OK(a) OR ALARM(a)) AND ALARM(b)", False),
        ("NOT (ALARM(a) AND OK(b))", False),
        ("TRUE AND ALARM(a)", True),
        ("FALSE", False),
        ("ALARM(missing)", False),
    ],
)
def test_rules(rule: str, expected: bool) -> None:
    assert AlarmRule(rule).holds(STATES.get) is expected


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("", "something is missing at character 1"),
        ("ALARM(a) ALARM(b)", "an operator is missing"),
        ("(ALARM(a)", "a closing parenthesis is missing"),
        ("AND ALARM(a)", "an operator has nothing before it"),
        ("ALARM(a) OR", "something is missing"),
        ("AT_LEAST(2)", "does not have AT_LEAST"),
    ],
)
def test_broken_rules_are_explained(rule: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AlarmRule(rule)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("errors / calls * 100", 25.0),
        ("100 * (errors + 1) / calls", 50.0),
        ("-errors + ABS(-3)", 2.0),
        ("calls / none", None),
        ("calls / FILL(none, 2)", 2.0),
        ("errors / (calls - 4)", None),
        ("IF(calls > 3 && errors >= 1, errors, 0)", 1.0),
        ("IF(calls > 10 || !(errors == 1), 1, 0)", 0.0),
        ("SUM([errors, calls, none])", 5.0),
        ("MAX(METRICS())", 4.0),
        ("AVG([none])", None),
        ("calls ^ 2", 16.0),
    ],
)
def test_metric_math(text: str, expected: float | None) -> None:
    assert MetricMath(text).value({"errors": 1.0, "calls": 4.0, "none": None}) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RATE(m1)", r"does not have RATE\(\)"),
        ("SUM(m1)", "needs a list"),
        ("FILL(m1, REPEAT)", "can only fill with a number"),
        ("IF(m1, 1)", "has 3 arguments"),
        ("m1.real", "Attribute"),
        ("m1 + 'x'", "is not a number"),
        ("m1 +", "not an expression"),
        ("__import__('os')", "does not have __import__"),
        ("SELECT AVG(x) FROM y", "not an expression"),
    ],
)
def test_metric_math_that_is_not_supported_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MetricMath(text)
