"""`polyhost check`, each time in a process of its own, which the model may change."""

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sklearn.linear_model import LogisticRegression

from polyhost.cli.work_dir import work_dir
from polyhost.processes import COMMAND, ServerProcess
from tests.support.command import POLYHOST, run_polyhost
from tests.support.hostile_archives import busy
from tests.support.s3 import packed
from tests.support.waiting import wait_for


def check(*arguments: str | Path, body: str = "") -> subprocess.CompletedProcess[str]:
    return run_polyhost("check", *arguments, stdin=body)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack a regression that was fitted on two rows."""
    folder = tmp_path_factory.mktemp("regression")
    fitted = LogisticRegression().fit([[0.0, 0.0], [1.0, 1.0]], [0, 1])
    (folder / "model.pkl").write_bytes(pickle.dumps(fitted))
    path = folder.with_suffix(".tar.gz")
    assert run_polyhost("pack", folder, "-o", path).returncode == 0
    return path


def script(folder: Path, source: str) -> Path:
    (folder / "inference.py").write_text(source)
    return folder


ECHO = """
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept): return body, "{media_type}"
"""


def test_prints_load_and_prediction(archive: Path) -> None:
    result = check(archive, "--body", "-", "--content-type", "text/csv", body="0,0\n1,1\n")
    lines = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split()[0] for line in lines[:-1]] == [
        "handler",
        "framework",
        "loaded",
        "memory",
        "predicts",
        "answer",
    ]
    assert json.loads(lines[-1]) == [0, 1]


def test_prints_json_for_scripts(archive: Path) -> None:
    report = json.loads(check(archive, "--body", "-", "--repeat", "2", "--json", body="[[1, 1]]").stdout)
    response = report["answer"]
    assert (report["handler"], report["framework"]) == ("sklearn", "sklearn")
    assert (response["status"], response["content_type"], response["body"]) == (200, "application/json", [1])
    assert report["load_s"] > 0
    assert response["first_ms"] > 0
    assert response["warm_ms"] > 0


def test_only_loads_without_a_body(archive: Path) -> None:
    assert json.loads(check(archive, "--json").stdout)["answer"] is None


def test_no_warm_time_without_repeats(archive: Path) -> None:
    report = json.loads(check(archive, "--json", "--repeat", "0", "--body", "-", body="[[1, 1]]").stdout)
    assert report["answer"]["warm_ms"] is None


def test_output_of_the_model_goes_to_stderr(tmp_path: Path) -> None:
    folder = script(tmp_path, 'print("hello from the model")\n' + ECHO.format(media_type="text/plain"))
    result = check(folder, "--body", "-", "--json", body="abc")
    assert json.loads(result.stdout)["answer"]["body"] == "abc"
    assert "hello from the model" in result.stderr


def test_a_binary_response_is_printed_as_its_size(tmp_path: Path) -> None:
    folder = script(tmp_path, ECHO.format(media_type="image/png").replace("return body,", 'return b"\\xff" * 7,'))
    result = check(folder, "--body", "-", body="abc")
    assert result.stdout.splitlines()[-1] == "<7 bytes of image/png>"


def test_a_rejected_request_is_one_sentence(archive: Path) -> None:
    result = check(archive, "--body", "-", body="[[1, 2, 3]]")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("polyhost: the model returned 400 in phase decode: wrong shape")
    assert result.stderr.count("\n") == 1


FAILURES = {
    "raises in model_fn": ("def model_fn(model_dir): raise ValueError('bad weights')", "bad weights"),
    "raises on import": ("import no_such_module", "no_such_module"),
    "exits": ("def model_fn(model_dir): raise SystemExit(3)", "its code called sys.exit(3)"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_model_that_does_not_load_is_one_sentence(tmp_path: Path, case: str) -> None:
    source, reason = FAILURES[case]
    result = check(script(tmp_path, source))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"polyhost: {tmp_path.name} does not load: ")
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def test_traceback_is_printed_on_demand(tmp_path: Path) -> None:
    result = check(script(tmp_path, "def model_fn(model_dir): raise ValueError('bad weights')"), "--traceback")
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert 'inference.py", line 1, in model_fn' in result.stderr


def test_manifest_comes_before_the_handler_option(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("def handle(data, context):\n    return data and ['the option']\n")
    folder = tmp_path / "model"
    manifest = folder / "MAR-INF" / "MANIFEST.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"model": {"handler": "service.py:Service"}, "runtime": "python3"}')
    (folder / "service.py").write_text(
        "class Service:\n    def handle(self, data, context):\n        return [repr(data[0]['body'])]\n"
    )

    result = check(folder, "--handler", f"{other}:handle", "--body", "-", "--content-type", "text/csv", body="a")
    assert result.stdout.splitlines()[-1] == "bytearray(b'a')"
    manifest.write_text('{"model": {"handler": "service.py"}, "runtime": "python2.7"}')
    assert '"runtime" is "python2.7"; it must be one of python, python2, python3' in check(folder).stderr


def test_handler_option_takes_a_file(tmp_path: Path) -> None:
    handler = tmp_path / "shout.py"
    handler.write_text("def handle(data, context):\n    return data and [item['body'].upper() for item in data]\n")
    folder = tmp_path / "model"
    folder.mkdir()
    result = check(folder, "--handler", f"{handler}:handle", "--body", "-", body="abc")
    assert result.stdout.splitlines()[-1] == "ABC"


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"\x1f\x8b\x08")
    result = check(tmp_path / "model.tar.gz")
    assert result.returncode == 1
    assert "not a complete gzip-compressed tar" in result.stderr


def test_an_archive_without_a_model_is_rejected(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz"):
        pass
    result = check(tmp_path / "model.tar.gz")
    assert result.returncode == 1
    assert "nothing here can be served" in result.stderr


SCRIPT = """
{before}

def model_fn(model_dir):
    {load}
    return None

def transform_fn(model, body, content_type, accept):
    {call}
    return body, "text/plain"
"""
OUTPUT = {
    "a wrapped stdout": ("sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8'); print('said')", "", ""),
    "bytes": ("", "sys.stdout.buffer.write(b'said\\n'); sys.stdout.reconfigure(line_buffering=True)", ""),
    "a logger to stdout": ("logging.basicConfig(force=True, stream=sys.stdout)", "logging.warning('said')", ""),
    "a cleared root logger": ("logging.getLogger().handlers.clear()", "logging.getLogger('m').info('said')", ""),
    "a bad format": ("logging.basicConfig(force=True, format='%(nope)s')", "", "logging.error('said')"),
    "native code": ("", "", "os.write(1, b'said\\n')"),
    "the folder": ("", "open('weights.txt').close(); print('said')", ""),
    "silence": ("logging.disable(50); print('said')", "", ""),
}


@pytest.mark.parametrize("case", OUTPUT)
def test_check_surrounds_the_model_as_a_worker_does(tmp_path: Path, case: str) -> None:
    before, load, call = OUTPUT[case]
    before = f"import io, logging, os, sys\n{before}"
    folder = script(tmp_path, SCRIPT.format(before=before, load=load or "pass", call=call or "pass"))
    (folder / "weights.txt").write_text("1")

    result = check(folder, "--body", "-", "--repeat", "0", "--json", body="abc")

    assert (result.returncode, json.loads(result.stdout)["answer"]["body"]) == (0, "abc"), result.stderr
    assert "said" in result.stderr


def test_a_traceback_is_printed_on_demand_whatever_the_model_does_to_logging(tmp_path: Path) -> None:
    source = "import logging\nlogging.disable(50)\ndef model_fn(model_dir): raise ValueError('bad weights')"
    result = check(script(tmp_path, source), "--traceback")
    assert 'inference.py", line 3, in model_fn' in result.stderr


ENDS = {
    "at import": (
        "os._exit(0)",
        "pass",
        "pass",
        "does not load: its code ended the process, which exited",
    ),
    "in the load": (
        "",
        "ctypes.string_at(8)",
        "pass",
        "its code ended the process, which died of SIGSEGV",
    ),
    "in the call": ("", "pass", "os._exit(3)", "ended the process during a request: it exited with status 3"),
    "sys.exit in the call": ("", "pass", "sys.exit(4)", "the model's code called sys.exit(4)"),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_model_that_ends_the_process_is_one_sentence(tmp_path: Path, case: str) -> None:
    before, load, call, words = ENDS[case]
    source = SCRIPT.format(before=f"import ctypes, os, sys\n{before}", load=load, call=call)
    result = check(script(tmp_path, source), "--body", "-", body="abc")
    assert (result.returncode, result.stdout) == (1, "")
    assert words in result.stderr.splitlines()[-1]


@contextlib.contextmanager
def unpacking(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """Check an archive that takes minutes to unpack; yield the process, and the one that unpacks."""
    (tmp_path / "tmp").mkdir()
    environ = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    path = busy(tmp_path / "busy.tar.gz")
    process = subprocess.Popen([*COMMAND, "check", path], env=environ, text=True)
    try:
        child = wait_for(lambda: next(iter(psutil.Process(process.pid).children()), None), "a process that unpacks")
        wait_for(lambda: str(path) in [file.path for file in child.open_files()], "the archive is open")
        yield process, child
    finally:
        process.kill()
        process.wait()


def test_sigterm_ends_a_check_that_unpacks_and_nothing_is_left(tmp_path: Path) -> None:
    with unpacking(tmp_path) as (process, child):
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        child.wait(60)
        assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_killed_check_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    with unpacking(tmp_path) as (process, child):
        process.kill()
        child.wait(60)
    [left] = (tmp_path / "tmp").iterdir()
    for age_s, remains in ((0, True), (3600, False)):  # a young one may be about to be locked
        os.utime(left, (left.stat().st_mtime - age_s,) * 2)
        with work_dir_in(tmp_path / "tmp"):
            assert left.exists() is remains


def test_the_folder_of_a_check_that_runs_is_not_removed(tmp_path: Path) -> None:
    with work_dir_in(tmp_path) as one:
        os.utime(one, (1, 1))
        with work_dir_in(tmp_path) as other:
            assert one.exists() and other != one
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def work_dir_in(folder: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        with work_dir() as made:
            yield made


# Nothing is left, however a check ends

SUBMITTED = "def model_fn(model_dir): return None\ndef transform_fn(model, body, content_type, accept): return body\n"
SOURCES = {
    "success": SUBMITTED,
    "a load that fails": "def model_fn(model_dir): raise ValueError('bad weights')\n",
    "an end in the load": "import os\ndef model_fn(model_dir): os._exit(0)\n",
    "no script": None,
}


@pytest.fixture
def own_tmp(tmp_path: Path) -> Path:
    """Make the folder that is to be empty afterwards: TMPDIR."""
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def submitted(folder: Path, source: str | None) -> dict[str, str]:
    """Pack a script apart from the model; return the variables that name it."""
    files = {"other.py": ""} if source is None else {"inference.py": source}
    (folder / "sourcedir.tar.gz").write_bytes(packed(**files))
    return {"SAGEMAKER_SUBMIT_DIRECTORY": f"{folder}/sourcedir.tar.gz", "TMPDIR": f"{folder}/tmp"}


@pytest.mark.parametrize("case", SOURCES)
@pytest.mark.parametrize("as_archive", [False, True], ids=["folder", "archive"])
def test_code_that_was_fetched_is_removed(tmp_path: Path, own_tmp: Path, case: str, as_archive: bool) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_text("1")
    if as_archive:
        model = tmp_path / "model.tar.gz"
        model.write_bytes(packed(**{"weights.bin": "1"}))
    result = run_polyhost("check", model, "--body", "-", stdin="1", environ=submitted(tmp_path, SOURCES[case]))
    assert (result.returncode == 0) == (case == "success"), result.stderr
    assert list(own_tmp.iterdir()) == []


def test_pack_removes_code_that_was_fetched(tmp_path: Path, own_tmp: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_text("1")
    packing = ("pack", tmp_path / "model", "-o", tmp_path / "model.tar.gz")
    result = run_polyhost(*packing, environ=submitted(tmp_path, SUBMITTED))
    assert (result.returncode, "served by the script handler" in result.stdout) == (0, True), result.stderr
    assert list(own_tmp.iterdir()) == []


WAITS = """
import subprocess, tempfile, time
from pathlib import Path

def model_fn(model_dir):
    tempfile.mkdtemp()
    subprocess.Popen(["sleep", "1000"])
    Path(model_dir, "loading").touch()
    time.sleep(1000)
"""


@contextlib.contextmanager
def checking(model: Path, **environ: str) -> Iterator[ServerProcess]:
    """Run a check in the background; afterwards, see that it has ended and left no process."""
    process = ServerProcess([POLYHOST, "check", model], model.with_suffix(".log"), environ=os.environ | environ)
    try:
        yield process
        process.popen.wait(60)
        wait_for(lambda: not process.processes(), "the end of the check's processes")
    finally:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_the_model_loads(tmp_path: Path, own_tmp: Path, number: signal.Signals) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_text("1")
    with checking(tmp_path / "model", **submitted(tmp_path, WAITS)) as process:
        wait_for((tmp_path / "model" / "loading").exists, "the load")
        process.popen.send_signal(number)
    assert process.popen.returncode != 0
    assert list(own_tmp.iterdir()) == []


def test_sigkill_while_the_model_loads_leaves_no_process(tmp_path: Path) -> None:
    with checking(script(tmp_path, WAITS.replace('subprocess.Popen(["sleep", "1000"])', ""))) as process:
        wait_for((tmp_path / "loading").exists, "the load")
        process.popen.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_code_is_fetched(tmp_path: Path, own_tmp: Path, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as s3:
        s3.settimeout(60)
        environ = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "SAGEMAKER_SUBMIT_DIRECTORY": "s3://code/sourcedir.tar.gz",
            "TMPDIR": str(own_tmp),
        }
        model = script(tmp_path, SUBMITTED)
        with checking(model, **environ) as process, s3.accept()[0] as connection:
            connection.recv(1 << 16)
            process.popen.send_signal(number)
            process.popen.wait(60)
    assert list(own_tmp.iterdir()) == []
