"""The SAM CLI, in a virtual environment of its own: it pins other versions than the project."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.emulator.sdks.environments import python_with

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"  # the Runtime that `sam build` finds here


@dataclass(frozen=True)
class SamCli:
    """The commands `sam` and `aws`, run in `folder` against an emulator."""

    url: str
    region: str
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def sam(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run `sam`, and return what it prints; whether it fails must be as expected."""
        return self._run(installed_sam(), *arguments, fails=fails)

    def aws(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run the AWS CLI in the same way."""
        return self._run(Path(sys.executable).with_name("aws"), *arguments, fails=fails)

    def shell(self, script: str) -> str:
        """Run a script, in which `sam` and `aws` are these, and return what it prints; each command has to succeed."""
        # At the end: beside `sam` is a `python` of its own.
        path = os.pathsep.join(("$PATH", str(installed_sam().parent)))
        return self._run("sh", "-euc", f'PATH="{path}"\n{script}', fails=False)

    def _run(self, *command: str | Path, fails: bool) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
        )
        shown = f"{Path(command[0]).name} {' '.join(map(str, command[1:]))}\n{done.stdout}"
        assert (done.returncode != 0) == fails, shown
        return done.stdout

    def _environ(self) -> dict[str, str]:
        """Return an environment without settings of the machine's own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
        python = str(Path(sys.executable).parent)
        return {
            **kept,
            "PATH": f"{python}{os.pathsep}{kept.get('PATH', os.defpath)}",
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            **self.environ,
        }


def installed_sam() -> Path:
    """Return the command `sam`, installed below build/ if it is not there yet. Skips the test if that is impossible."""
    return python_with("sam_cli").with_name("sam")
