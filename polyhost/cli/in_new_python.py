"""A check whose packages are not this environment's: the same command again, in a Python that finds them first."""

import os
import subprocess
import sys

import typer

from polyhost.cli import environment
from polyhost.cli.packages import Installed


def check_again(installed: Installed) -> int:
    """Run this process's command again with the packages installed; return its exit status."""
    typer.echo(f"packages: {installed}", err=True)
    paths = [str(installed.site), *filter(None, [environment.read().get("PYTHONPATH")])]
    changed = {"PYTHONPATH": os.pathsep.join(paths), "POLYHOST_REQUIREMENTS": "off"}
    return subprocess.call([sys.executable, "-P", "-m", "polyhost", *sys.argv[1:]], env=environment.read() | changed)
