"""How a file of LightGBM begins. Standard library only: this is asked before anything is imported."""

import re

# The name of the model's kind, and its version, in any version of the format.
_START = re.compile(rb"tree\r?\n(version=|num_class=)")


def is_model(start: bytes) -> bool:
    """Return whether a file that begins so is a model, as `save_model` writes it."""
    return bool(_START.match(start))
