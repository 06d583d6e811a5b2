"""The folder of --state: one emulator at a time, private, and an error that helps."""

import subprocess
import sys
from pathlib import Path

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.errors import StartError
from polyhost.emulator.server import Emulator
from polyhost.emulator.state_folder import locked_state_folder
from tests.emulator.conftest import REGION
from tests.support.emulator import boto3_client

HOLD = """
import sys
from pathlib import Path
from polyhost.emulator.state_folder import locked_state_folder
with locked_state_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    with locked_state_folder(tmp_path / "new" / "state"):
        assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700


def test_the_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StartError, match="another emulator uses the state folder"),
            locked_state_folder(tmp_path),
        ):
            pass
        holder.kill()
    with locked_state_folder(tmp_path):
        pass


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StartError, match="choose another --state"), locked_state_folder(tmp_path / "state"):
        pass


def test_an_emulator_in_a_thread_keeps_its_state_too(tmp_path: Path) -> None:
    config = EmulatorConfig(port=0, state=tmp_path)
    for number in range(3):
        with Emulator(config) as emulator:
            s3 = boto3_client(emulator.url, "s3", REGION)
            if number == 0:
                s3.create_bucket(Bucket="in-a-thread", CreateBucketConfiguration={"LocationConstraint": REGION})
            else:
                assert s3.get_object(Bucket="in-a-thread", Key=str(number - 1))["Body"].read() == b"content"
            s3.put_object(Bucket="in-a-thread", Key=str(number), Body=b"content")
