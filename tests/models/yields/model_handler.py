"""Streams chunks as the body says: JSON with "pieces", "step_by_step", and "then": "raise", "die" or "go_on"."""

import json
import os
import time
from pathlib import Path

FOLDER = Path(__file__).parent


class Yielding:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        context.set_response_content_type(0, "text/plain")
        return [self.chunks(json.loads(bytes(item["body"]))) for item in data]

    def chunks(self, options):
        try:
            if options.get("first") == "raise":
                raise ValueError("nothing was sent yet")
            for number in range(options["pieces"]):
                yield f"piece {number};"
                if options.get("step_by_step"):
                    while not (FOLDER / f"after-{number}").exists():
                        time.sleep(0.005)
            if options.get("then") == "raise":
                raise ValueError("some was sent already")
            if options.get("then") == "die":
                os._exit(7)
            while options.get("then") == "go_on":
                yield "more" * 1000
        finally:
            (FOLDER / "ended").touch()
