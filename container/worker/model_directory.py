"""The rule for where a model may lie."""

from pathlib import Path


def is_within(directory: Path, models_dir: Path) -> bool:
    """Return whether a directory is BASE/models or lies below it, with links resolved in both.

    SageMaker unpacks archives there. A load of anything else is rejected: a client that reaches the container could
    otherwise have any code on the disk run.
    """
    return directory.resolve().is_relative_to(models_dir.resolve())
