"""A distribution that is installed into a folder, for tests of entry points."""

from collections.abc import Mapping
from pathlib import Path


def install(site: Path, group: str, entry_points: Mapping[str, str], **modules: str) -> None:
    """Install modules, by their names, and entry points of one group into a folder for the search path."""
    metadata = site / "polyhost_linear-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: polyhost-linear\nVersion: 1.0\n")
    lines = (f"{name} = {value}\n" for name, value in entry_points.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n" + "".join(lines))
    for name, source in modules.items():
        (site / f"{name}.py").write_text(source)
