"""The container's end: its time, and the processes that do not end by themselves."""

import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from polyhost.container.config import Config
from polyhost.container.native import clients, server
from polyhost.container.stopping import StopBudget
from polyhost.container.supervisor import _MMS_FINISH_S

DOCKER_S, SAGEMAKER_S = 10.0, 30.0  # from SIGTERM to SIGKILL
FOR_THE_REST_S = 0.5  # to remove the run folder, and to end
DEFAULT_S = float(Config.from_environ({}).finish_s)
# The highest that docs/configuration.md names for SageMaker.
ALLOWED_S = 25.0


@dataclass
class Clock:
    now: float = 1000.0
    steps: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds
        self.steps.append(seconds)


def _slowest(finish_s: float, native: bool) -> list[float]:
    """Return the seconds of all parts if each takes all that it may."""
    clock = Clock()
    budget = StopBudget(finish_s, clock)
    if native:
        clock.spend(budget.front_end_s)
    clock.spend(budget.sigterm_s)
    clock.spend(budget.sigkill_s)
    clock.spend(budget.log_s)
    return clock.steps


@pytest.mark.parametrize(
    ("finish_s", "native", "limit_s"),
    [(DEFAULT_S, True, DOCKER_S), (_MMS_FINISH_S, False, DOCKER_S), (ALLOWED_S, True, SAGEMAKER_S)],
    ids=["native", "mms", "native on SageMaker"],
)
def test_the_slowest_end_is_within_the_grace_period(finish_s: float, native: bool, limit_s: float) -> None:
    steps = _slowest(finish_s, native)
    assert sum(steps) <= limit_s - FOR_THE_REST_S
    assert min(steps) >= 0.5


def test_the_front_end_ends_by_itself_before_it_is_killed() -> None:
    own_s = DEFAULT_S + server._REJECTION_GRACE_S + clients._POLL_INTERVAL_S
    assert StopBudget(DEFAULT_S, Clock()).front_end_s - own_s > 0.9


def test_more_time_for_invocations_delays_nothing_else() -> None:
    budget = StopBudget(60.0, Clock())
    assert (budget.sigterm_s, budget.sigkill_s, budget.log_s) == (4.0, 2.0, 2.0)


# A child that ignores SIGTERM, with a child of its own that it leaves behind, and one that is to be spared.
STOPS = """
import subprocess, sys
from polyhost.container.stopping import StopBudget, stop_children
from polyhost.container.system.prctl import become_subreaper
from polyhost.container.system.procfs import children

IGNORES = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {IGNORES!r}]).wait()"
become_subreaper()
commands = [[sys.executable, "-c", code] for code in (IGNORES, PARENT)]
stubborn, parent = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
spared = subprocess.Popen(["sleep", "1000"])
for process in (stubborn, parent):
    process.stdout.readline()
stop_children([spared.pid], StopBudget(0.0))
assert children() == [spared.pid], children()
spared.kill()
"""


def test_children_that_ignore_sigterm_are_killed() -> None:
    done = subprocess.run([sys.executable, "-c", STOPS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
