"""A framework that another distribution adds, in a container."""

import json
from pathlib import Path

import pytest

from polyhost.handlers.frameworks import ENTRY_POINTS
from tests.support.container import running
from tests.support.distribution import install
from tests.support.waiting import wait_for

ROW = """
from polyhost.handlers.frameworks import Framework
ROW = Framework(name="linear", handler="linear_handler:LinearHandler", files=("*.linear",),
                environment={"LINEAR_FACTOR": "10"})
"""
HANDLER = """
import os
from polyhost.handlers.base import Handler
class LinearHandler(Handler):
    def load(self, source):
        self.factor = float(os.environ["LINEAR_FACTOR"])
    def predict(self, inputs, request):
        return [[self.factor * value for value in row] for row in inputs.values]
"""


@pytest.mark.parametrize("front", ["native"])
def test_models_of_a_plugin_are_served_and_a_broken_plugin_is_logged(front: str, short_dir: Path) -> None:
    entry_points = {"linear": "linear_row:ROW", "broken": "linear_row:MISSING"}
    install(short_dir / "site", ENTRY_POINTS, entry_points, linear_row=ROW, linear_handler=HANDLER)
    environ = {"PYTHONPATH": str(short_dir / "site"), "POLYHOST_ZYGOTES": "linear"}
    with running(short_dir, front, **environ) as container:
        for name, file in (("a", "a.linear"), ("b", "b.unknown")):
            container.folder(name).mkdir(parents=True)
            (container.folder(name) / file).touch()
        container.loaded("a")
        assert container.invoke("a", json.dumps([[1, 2]])).json() == [[10, 20]]
        assert container.wait_for_event("zygote linear is ready")
        rejected = container.load("b").json()
        reason = "the handler plugin broken is not used: AttributeError: module 'linear_row' has no attribute 'MISSING'"
        assert (rejected["type"], reason in rejected["message"]) == ("BadModelError", True)
        wait_for(  # at start, and the load
            lambda: len([event for event in container.events() if reason in event["message"]]) == 2, "both events"
        )
