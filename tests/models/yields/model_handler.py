"""Answers in pieces; the body says how: JSON with "pieces", and "then": "raise", "die" or "wait_for_end"."""

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
        return [self.pieces(json.loads(bytes(item["body"]))) for item in data]

    def pieces(self, wish):
        try:
            if wish.get("first") == "raise":
                raise ValueError("nothing was sent yet")
            for number in range(wish["pieces"]):
                yield f"piece {number};"
                if wish.get("step_by_step"):
                    while not (FOLDER / f"after-{number}").exists():
                        time.sleep(0.005)
            if wish.get("then") == "raise":
                raise ValueError("some was sent already")
            if wish.get("then") == "die":
                os._exit(7)
            while wish.get("then") == "go_on":
                yield "more" * 1000
        finally:
            (FOLDER / "ended").touch()
