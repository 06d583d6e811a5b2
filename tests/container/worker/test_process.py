"""Real workers, forked from a real zygote; the test is the front end, over a real socket."""

import json
import os
import signal
import textwrap
import time
from pathlib import Path

import pytest

from polyhost.container.worker.protocol import encode_cancel
from polyhost.container.worker.status_page import WorkerState
from polyhost.container.worker.types import WorkerExit
from tests.container.conftest import ForkWorker
from tests.container.forking import Forks
from tests.container.mms_side import Parameter, Sent, body_command, predict_command
from tests.support.waiting import wait_for

ECHO = """
    def handle(data, context):
        if data is None:
            return
        for index in range(len(data)):
            context.set_response_content_type(index, "text/x-echo")
        return [bytes(item["body"]) for item in data]
"""


def handler(line: str, load: str = "pass") -> str:
    """Return a handler that executes `load` for a load and `line` for a request; its body is `data[0]["body"]`."""
    return f"import os, sys, time\ndef handle(data, context):\n    if data is None: {load}\n    else: {line}"


def test_load_predict_and_disconnect(worker: ForkWorker) -> None:
    forked = worker(ECHO)
    loaded = forked.load()
    assert (loaded.code, loaded.message) == (200, f"loaded [PID]:{forked.pid}")
    forked.wait_for_state(WorkerState.IDLE)

    for body in (b"one", b"", os.urandom(1 << 20)):
        (answer,) = forked.invoke(body).predictions
        assert (answer.id, answer.status, answer.content_type, answer.body) == ("r1", 200, "text/x-echo", body)

    forked.mms.close()
    assert forked.wait_for_end() == 0


def test_batch_responses_are_in_order_with_separate_errors(worker: ForkWorker) -> None:
    forked = worker("def handle(data, context): return data and [b'one', ValueError('two'), b'three']").loaded()
    forked.mms.sendall(predict_command(*(Sent(name, {}, [Parameter("body", b"")]) for name in "abc")))

    answers = forked.reply().predictions
    assert [(answer.id, answer.status) for answer in answers] == [("a", 200), ("b", 500), ("c", 200)]
    assert json.loads(answers[1].body)["message"] == "two"


def test_replies_and_busy_time_are_counted(worker: ForkWorker) -> None:
    forked = worker(handler("time.sleep(0.02); return [b'']")).loaded()
    for _ in range(3):
        forked.invoke()
    forked.wait_for_state(WorkerState.IDLE)

    busy_ns, answered = forked.status.counters
    assert answered == 3
    assert busy_ns >= 60_000_000


@pytest.mark.parametrize(
    ("load", "status", "type_"),
    [
        ("raise ValueError('no weights')", 500, "ValueError"),
        ("raise MemoryError('too big')", 507, "MemoryError"),
        ("raise RuntimeError('CUDA out of memory')", 507, "RuntimeError"),
        ("import no_such_framework", 500, "ModuleNotFoundError"),
        ("raise ValueError('x' * 100_000)", 500, "ValueError"),
        ("raise ValueError('\\u20ac' * 100_000)", 500, "ValueError"),
        ("raise ValueError('caf\\udce9')", 500, "ValueError"),
        ("raise type('E', (Exception,), {'type': '\\0' * 5000, 'phase': 'load' * 5000})('x')", 500, "\0" * 100),
    ],
)
def test_failed_load_is_left_in_the_status_page_without_a_reply(
    worker: ForkWorker, load: str, status: int, type_: str
) -> None:
    forked = worker(handler("return [b'']", load))
    forked.send_load()

    assert forked.wait_for_end() == WorkerExit.LOAD_FAILED
    assert forked.status.state == WorkerState.FAILED
    failure = forked.status.payload
    assert (failure["code"], failure["type"], failure["phase"][:4]) == (status, type_, "load")
    assert failure["message"]


def test_load_beyond_its_memory_limit_fails(worker: ForkWorker) -> None:
    forked = worker(handler("return [b'']", "bytearray(200 << 20)"), memory_bytes=64 << 20)
    forked.send_load()
    forked.wait_for_end()

    assert forked.status.payload["code"] == 507


def test_memory_limit_ends_with_the_load(worker: ForkWorker) -> None:
    forked = worker(handler("return [str(len(bytearray(200 << 20)))]"), memory_bytes=64 << 20).loaded()

    assert forked.invoke().predictions[0].body == str(200 << 20).encode()


def test_directory_outside_the_models_directory_is_rejected(forks: Forks, tmp_path: Path) -> None:
    forked = forks.fork(tmp_path)
    forked.send_load()
    forked.wait_for_end()

    failure = forked.status.payload
    assert (failure["code"], str(tmp_path) in failure["message"]) == (400, True)
    forked.close()


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [
        ("os._exit(3)", 3),
        ("sys.exit(4)", 4),
        ("sys.exit('no more')", 1),
        ("sys.exit()", 0),
        ("os.abort()", -signal.SIGABRT),
    ],
)
def test_death_during_a_request_leaves_its_ids(worker: ForkWorker, line: str, exit_code: int) -> None:
    forked = worker(handler(line)).loaded()
    forked.mms.sendall(predict_command(Sent("a"), Sent("b")))

    assert forked.wait_for_end() == exit_code
    assert (forked.status.state, forked.status.payload) == (WorkerState.BUSY, ["a", "b"])


@pytest.mark.parametrize("line", ["raise KeyboardInterrupt", "raise GeneratorExit", "raise asyncio.CancelledError"])
def test_exceptions_that_are_no_exception_leave_the_worker_alive(worker: ForkWorker, line: str) -> None:
    forked = worker(f"""
        import asyncio
        def handle(data, context):
            if data and bytes(data[0]["body"]) == b"fail":
                {line}
            return data and [b"done"]
    """).loaded()

    assert forked.invoke(b"fail").predictions[0].status == 500
    assert forked.invoke().predictions[0].status == 200
    (event,) = forked.events(level="ERROR")
    assert line in event["traceback"]


def test_sys_exit_is_logged_with_the_place(worker: ForkWorker) -> None:
    forked = worker(handler("sys.exit('no more')")).loaded()
    forked.mms.sendall(predict_command(Sent("a")))

    forked.wait_for_end()
    (event,) = forked.events(level="ERROR")
    assert event["message"] == "the model's code called sys.exit('no more')"
    assert 'handle.py", line 4, in handle' in event["traceback"]


FORKS = """
import os

def handle(data, context):
    if data is None:
        if "load" in {places}:
            os.fork()
        return None
    if "call" in {places} and os.fork() == 0 and {fails}:
        raise ValueError
    return [str(os.getpid()).encode()] * len(data)
"""


@pytest.mark.parametrize("places", [("load",), ("call",), ("load", "call")])
@pytest.mark.parametrize("fails", [True, False])
def test_child_that_comes_back_from_the_models_code_ends(
    worker: ForkWorker, places: tuple[str, ...], fails: bool
) -> None:
    """Two processes on one connection would reply twice, and take parts of each other's requests."""
    forked = worker(FORKS.format(places=places, fails=fails)).loaded()
    for _ in range(3):
        assert forked.invoke().predictions[0].body == str(forked.pid).encode()

    ended = ("load" in places) + 3 * ("call" in places)
    wait_for(lambda: len(forked.events(level="ERROR")) == ended, "the children to end")
    assert {event["pid"] for event in forked.events(message="loaded")} == {forked.pid}
    assert len(forked.events(message="loaded")) == 1


def test_script_may_parse_its_arguments(worker: ForkWorker) -> None:
    """Training and serving from one file: argparse would reject the arguments of our own processes."""
    forked = worker("    import argparse\n    argparse.ArgumentParser().parse_args()\n" + ECHO).loaded()
    assert forked.invoke(b"x").predictions[0].status == 200


def test_segmentation_fault_writes_a_traceback_to_the_output_pipe(worker: ForkWorker) -> None:
    forked = worker(handler("import ctypes; ctypes.string_at(8)")).loaded()
    forked.mms.sendall(predict_command(Sent("a")))

    assert forked.wait_for_end() == -signal.SIGSEGV
    output = forked.output()
    assert "Segmentation fault" in output and 'handle.py", line 4 in handle' in output


def test_death_inside_a_command_differs_from_an_idle_death(worker: ForkWorker) -> None:
    """No replacement may read the connection then: it would take the rest of the request for a command."""
    forked = worker(ECHO).loaded()
    forked.mms.sendall(predict_command(Sent("a", {}, [Parameter("body", bytes(1000))]))[:-100])
    forked.wait_for_state(WorkerState.READING)
    os.kill(forked.pid, signal.SIGKILL)
    forked.wait_for_end()

    assert forked.status.state == WorkerState.READING


@pytest.mark.parametrize("during", ["load", "request"])
def test_front_end_may_close_the_connection_before_a_reply(worker: ForkWorker, during: str, tmp_path: Path) -> None:
    """As at an unload: no failure, and nothing that is logged as one."""
    go = tmp_path / "go"
    wait = f"[time.sleep(0.01) for _ in iter(lambda: os.path.exists({str(go)!r}), True)]"
    forked = worker(handler("return [b'']", wait) if during == "load" else handler(f"{wait}; return [b'']"))
    if during == "load":
        forked.send_load()
        forked.wait_for_state(WorkerState.LOADING)
    else:
        forked.loaded().mms.sendall(body_command(b""))
        forked.wait_for_state(WorkerState.BUSY)
    forked.mms.close()
    go.touch()

    assert forked.wait_for_end() == 0
    assert not forked.events(level="ERROR")


def test_malformed_command_ends_the_worker(worker: ForkWorker) -> None:
    forked = worker(ECHO).loaded()
    forked.mms.sendall(b"GET / HTTP/1.1\r\n\r\n")

    assert forked.wait_for_end() == 1
    assert forked.status.state == WorkerState.READING
    assert any("unknown command" in event["traceback"] for event in forked.events(level="ERROR"))


def test_replacement_loads_without_a_command_and_serves_what_waits(worker: ForkWorker) -> None:
    forked = worker(ECHO, reload=True, batch_size=4)

    assert forked.invoke(b"at once").predictions[0].body == b"at once"


def test_failed_reload_is_left_in_the_status_page(worker: ForkWorker) -> None:
    forked = worker(handler("return []", "raise ValueError('gone')"), reload=True)

    assert forked.wait_for_end() == WorkerExit.LOAD_FAILED
    assert forked.status.payload["message"] == "gone"


def test_backing_off_worker_responds_with_the_reason_until_its_time_is_over(worker: ForkWorker) -> None:
    forked = worker(ECHO, reload=True, backoff_s=2.0, reason="it failed 3 times in a row")

    (answer,) = forked.invoke().predictions
    assert (answer.status, json.loads(answer.body)["message"]) == (503, "it failed 3 times in a row")

    answered = time.monotonic()  # it has entered back-off before
    wait_for(lambda: time.monotonic() - answered > 2.0, "the end of the back-off")
    forked.mms.sendall(predict_command(Sent("a")))
    assert forked.wait_for_end() == WorkerExit.BACKOFF_OVER


def test_backing_off_worker_ends_with_its_connection(worker: ForkWorker) -> None:
    forked = worker(ECHO, reload=True, backoff_s=600.0, reason="x")
    forked.wait_for_state(WorkerState.BACKING_OFF)
    forked.mms.close()

    assert forked.wait_for_end() == 0


def test_printed_lines_become_events_and_native_output_goes_to_the_pipe(worker: ForkWorker) -> None:
    forked = worker(
        handler("print('hello'); os.write(1, b'native\\n'); os.write(2, b'error\\n'); return [b'']")
    ).loaded()
    forked.invoke()
    forked.mms.close()

    assert forked.output() == "native\nerror\n"
    (event,) = forked.events(logger="stdout")
    assert (event["message"], event["pid"]) == ("hello", forked.pid)


def test_worker_has_its_models_directory_and_its_own_temp_folder(worker: ForkWorker) -> None:
    tell = "import tempfile; return [os.getcwd() + ' ' + tempfile.gettempdir()]"
    forked = worker(handler(tell)).loaded()

    cwd, temp = forked.invoke().predictions[0].body.decode().split()
    assert (Path(cwd), Path(temp).name[:5]) == (forked.directory.resolve(), "temp-")


def test_kernel_would_kill_a_worker_before_the_zygote(worker: ForkWorker, forks: Forks) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    assert score(worker().loaded().pid) > score(forks.zygote.process.pid)


def test_mms_finds_two_empty_output_files(worker: ForkWorker, forks: Forks) -> None:
    forked = worker(ECHO)
    forked.load(io_name="W-9000")

    files = sorted((forks.models_dir.parent / "io").glob("W-9000-*"))
    assert [file.name for file in files] == ["W-9000-stderr", "W-9000-stdout"]
    assert [file.read_bytes() for file in files] == [b"", b""]
    for file in files:
        file.unlink()


def test_program_started_by_the_model_does_not_hold_the_connection(worker: ForkWorker) -> None:
    """Not by `subprocess`, which closes descriptors, but by posix_spawn, as C libraries do it."""
    forked = worker(handler("return [str(os.posix_spawn('/bin/sleep', ['sleep', '60'], os.environ))]")).loaded()
    sleeper = int(forked.invoke().predictions[0].body)
    os.kill(forked.pid, signal.SIGKILL)
    forked.wait_for_end()

    assert forked.mms.recv(1) == b""
    os.kill(sleeper, signal.SIGKILL)


def test_gpu_of_the_fork_request_comes_before_that_of_mms(worker: ForkWorker) -> None:
    """MMS assigns GPUs in turn; the fork server knows how much is on each."""
    source = handler("return [str(context.system_properties['gpu_id'])]")

    assert worker(source, gpu_id=3).loaded().invoke().predictions[0].body == b"3"
    chosen = worker(source)
    chosen.load(gpu_id=1)
    assert chosen.invoke().predictions[0].body == b"1"


def test_worker_survives_a_handler_that_fails_to_close_its_stream(worker: ForkWorker) -> None:
    forked = worker(
        """
        import time
        def handle(data, context):
            return chunks() if data else None
        def chunks():
            try:
                while True:
                    time.sleep(0.01)
                    yield b""
            finally:
                raise OSError("closed already")
        """,
        extended_protocol=True,
    ).loaded()
    forked.mms.sendall(body_command(b""))
    forked.wait_for_state(WorkerState.STREAMING)
    forked.mms.sendall(encode_cancel(b"r1"))
    (event,) = wait_for(lambda: forked.events(level="ERROR"), "the failure in the log")

    assert Path(f"/proc/{forked.pid}").exists()
    forked.mms.sendall(body_command(b""))
    forked.wait_for_state(WorkerState.STREAMING)
    assert "closed already" in event["traceback"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_model_may_choose_how_its_processes_start(worker: ForkWorker, method: str) -> None:
    forked = worker(
        f"""
        import multiprocessing

        def square(number):
            return number * number

        def handle(data, context):
            if data is None:
                return multiprocessing.set_start_method({method!r})
            with multiprocessing.Pool(2) as pool:
                return [f"{{multiprocessing.get_start_method()}} {{pool.map(square, [2, 3])}}"]
        """
    ).loaded()

    assert forked.invoke().predictions[0].body.decode() == f"{method} [4, 9]"


def test_model_may_run_in_parallel_with_joblib(worker: ForkWorker) -> None:
    pytest.importorskip("joblib")
    forked = worker(
        """
        import joblib

        def square(number):
            return number * number

        def handle(data, context):
            return data and [joblib.Parallel(n_jobs=2)(joblib.delayed(square)(number) for number in (2, 3))]
        """
    ).loaded()

    assert json.loads(forked.invoke().predictions[0].body) == [4, 9]


UNPICKLES = """
    import pickle
    def handle(data, context):
        if data is None:
            handle.model = pickle.loads(b"c__main__\\nModel\\n.")
        return data and [handle.model.__name__]
"""


# The last two are names in modules of ours that the zygote, or this process before its load, has run.
@pytest.mark.parametrize("name", ["Model", "Config", "Worker"])
def test_class_of_a_notebook_is_found_in_the_handlers_module(worker: ForkWorker, name: str) -> None:
    unpickles = textwrap.dedent(UNPICKLES).replace("Model", name).replace("__name__", "__module__")
    forked = worker(f"class {name}: pass\n{unpickles}").loaded()

    assert forked.invoke().predictions[0].body == b"handle"


@pytest.mark.parametrize("name", ["Model", "Config", "Worker"])
def test_missing_class_of_a_notebook_is_explained_without_a_module_of_ours(worker: ForkWorker, name: str) -> None:
    forked = worker(textwrap.dedent(UNPICKLES).replace("Model", name))
    forked.send_load()
    forked.wait_for_end()

    message = forked.status.payload["message"]
    assert message.startswith(f"Can't get attribute '{name}' on <module '__main__'>; define or import it in")
    assert "polyhost" not in message
