"""A pytest plugin that says how long the run will still take, at each tenth of it.

The terminal's own progress counts tests, and a test of a whole container takes a hundred times as long as one of a
parser. So the estimate uses the durations of the last run, which pytest's cache keeps, and their mean for new tests.
"""

import time
from statistics import mean

import pytest

_CACHE_KEY = "polyhost/durations"
_STEPS = 10


class Progress:
    """Counts the seconds of finished tests against those of all that were collected."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._cache: pytest.Cache | None = getattr(config, "cache", None)  # absent with -p no:cacheprovider
        self._known: dict[str, float] = (self._cache.get(_CACHE_KEY, {}) if self._cache else {}) or {}
        self._spent: dict[str, float] = {}
        self._expected: dict[str, float] = {}
        self._finished_s = 0.0
        self._next_step = 1
        self._start = time.monotonic()

    def expect(self, names: list[str]) -> None:
        """Take in the names of the tests to run; every worker of pytest-xdist reports the same."""
        if not self._expected:
            usual = mean(self._known.values()) if self._known else 1.0
            self._expected = {name: max(self._known.get(name, usual), 0.001) for name in names}
            self._start = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        self.expect(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._spent[report.nodeid] = self._spent.get(report.nodeid, 0.0) + report.duration
        if report.when == "teardown":
            self._finished_s += self._expected.get(report.nodeid, 0.0)
            self._report()

    def _report(self) -> None:
        total = sum(self._expected.values())
        share = self._finished_s / total if total else 1.0
        if share < self._next_step / _STEPS or self._next_step >= _STEPS:
            return
        self._next_step = int(share * _STEPS) + 1
        elapsed = time.monotonic() - self._start
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and elapsed > 10:
            left = elapsed * (1 - share) / share
            terminal.write_line(f"\n{share:.0%} done after {_minutes(elapsed)}, about {_minutes(left)} left")

    def pytest_sessionfinish(self) -> None:
        if self._cache and self._spent:
            self._cache.set(_CACHE_KEY, {**self._known, **self._spent})


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin in the process that writes to the terminal."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config), "polyhost-progress")
