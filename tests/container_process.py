"""Old name of tests.support, until every test imports from there."""

from polyhost.processes import free_port
from tests.support.container import ENTRY_POINT, LAUNCHER, ROOT, ContainerProcess, running
from tests.support.processes import query as asked
from tests.support.waiting import wait_for

__all__ = ["ENTRY_POINT", "LAUNCHER", "ROOT", "ContainerProcess", "asked", "free_port", "running", "wait_for"]
