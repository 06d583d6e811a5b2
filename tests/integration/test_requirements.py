"""Archives that bring what they need, in whole containers: wheels, an index on loopback, and the real uv."""

import json
import shutil
import signal
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.support.container import ContainerProcess, running
from tests.support.packages import Index, make_wheel, serving
from tests.support.processes import query
from tests.support.waiting import wait_for

# Answers with what its code returns for the words of a request.
SCRIPT = """
    import json, os, sys
    {imports}
    def model_fn(model_dir):
        return None
    def transform_fn(model, body, content_type, accept):
        answer = eval(body, globals())
        return json.dumps(answer), "application/json"
"""
BUILDER = "polyhost.container.layers"
Write = Callable[..., str]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with serving(tmp_path_factory.mktemp("index")) as index:
        make_wheel(index.folder, "greeting", "1.0")
        make_wheel(index.folder, "greeting", "2.0", requires=["words"])
        make_wheel(index.folder, "words", "1.0")
        make_wheel(index.folder, "networkx", "99.0")  # the image has another
        yield index


@pytest.fixture(scope="module")
def served(front: str, index: Index) -> Iterator[ContainerProcess]:
    # Not below /tmp, which models share.
    with tempfile.TemporaryDirectory(prefix="pt-", dir="/var/tmp") as folder:
        settings = {
            "POLYHOST_REQUIREMENTS": "isolated",
            "POLYHOST_STATE_DIR": f"{folder}/state",
            "POLYHOST_ZYGOTES": "bare",
            "POLYHOST_MAX_WORKERS": "1",
            "UV_DEFAULT_INDEX": index.url.replace("//", "//user:secret@"),
        }
        with running(Path(folder), front, **settings) as container:
            yield container


@pytest.fixture
def write(served: ContainerProcess, request: pytest.FixtureRequest) -> Write:
    """`write("suffix", "requirements", imports="import x")` makes a model of this test's own and returns its name."""

    def write(suffix: str, requirements: str | None, imports: str = "", wheels: Path | None = None) -> str:
        name = f"{request.node.name}-{suffix}".replace("[", "-").replace("]", "")
        code = served.folder(name) / "code"
        code.mkdir(parents=True)
        (code / "inference.py").write_text(textwrap.dedent(SCRIPT).replace("{imports}", imports))
        if requirements is not None:
            (code / "requirements.txt").write_text(requirements)
        if wheels is not None:
            shutil.copytree(wheels, code / "wheels")
        return name

    return write


def ask(container: ContainerProcess, name: str, expression: str) -> object:
    response = container.invoke(name, expression, "text/plain")
    assert response.status_code == 200, response.text
    return response.json()


def test_two_versions_side_by_side_and_one_layer_for_the_same(served: ContainerProcess, write: Write) -> None:
    first = served.loaded(write("first", "greeting==1.0", "import greeting"))
    second = served.loaded(write("second", "greeting==2.0\n", "import greeting, words"))
    same = served.loaded(write("same", "# as the second\nGreeting == 2.0", "import greeting"))
    again = served.loaded(write("again", "greeting==2.0\n", "import greeting"))

    assert [ask(served, name, "greeting.VERSION") for name in (first, second, same, again)] == [
        *("1.0", "2.0", "2.0", "2.0")
    ]  # fmt: skip
    folders = {str(ask(served, name, "os.path.dirname(greeting.__file__)")) for name in (second, same, again)}
    assert len(folders) == 1
    assert served.wait_for_event("installing the packages of code/requirements.txt: greeting==2.0", model=second)
    assert served.wait_for_event("installed greeting==2.0, words==1.0", model=second)
    assert not [event for event in served.events(model=again) if event["message"].startswith("install")]
    assert served.wait_for_event("loaded", model=second)["timeline_ms"]["requirements"] > 0
    assert "requirements" not in served.wait_for_event("loaded", model=again)["timeline_ms"]


def test_wheels_of_the_archive_need_no_index(
    served: ContainerProcess, write: Write, index: Index, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "wheels", "only-here", "3.0")
    asked = len(index.requests)

    name = served.loaded(write("m", "only-here==3.0", "import only_here", tmp_path / "wheels"))

    assert ask(served, name, "only_here.VERSION") == "3.0"
    assert len(index.requests) == asked


def test_other_versions_than_the_images_get_a_python_of_their_own(served: ContainerProcess, write: Write) -> None:
    isolated = served.loaded(write("isolated", "networkx>=99\ngreeting==1.0", "import networkx, greeting"))
    other = served.loaded(write("other", None, "import networkx"))

    assert ask(served, isolated, "[networkx.VERSION, greeting.VERSION]") == ["99.0", "1.0"]
    assert ask(served, other, "networkx.__version__ != '99.0'") is True
    assert "-m polyhost.container.worker" in " ".join(served.workers_of(isolated)[0].cmdline())
    assert served.wait_for_event("the model gets a Python of its own", model=isolated)
    # What it prints and logs is its own, its memory is measured, and it is confined.
    ask(served, isolated, "print('printed by it')")
    served.wait_for_event("printed by it", model=isolated)
    assert ask(served, isolated, f"os.access({str(served.folder(other))!r}, os.R_OK)") is False or _denied(
        served, isolated, f"open({str(served.folder(other) / 'code' / 'inference.py')!r})"
    )
    pid = served.workers_of(isolated)[0].pid
    served.workers_of(isolated)[0].kill()
    wait_for(lambda: [worker.pid for worker in served.workers_of(isolated)] not in ([], [pid]), "another worker")
    assert ask(served, isolated, "networkx.VERSION") == "99.0"


def _denied(container: ContainerProcess, name: str, expression: str) -> bool:
    """Return whether evaluating the expression in the model raises PermissionError."""
    response = container.invoke(name, expression, "text/plain")
    return response.status_code == 500 and "PermissionError" in response.text


def test_a_model_reads_its_layer_and_cannot_change_it(served: ContainerProcess, write: Write) -> None:
    name = served.loaded(write("m", "greeting==1.0", "import greeting"))
    other = served.loaded(write("other", "greeting==2.0", "import greeting"))
    own = Path(str(ask(served, name, "greeting.__file__")))
    others = Path(str(ask(served, other, "greeting.__file__")))

    assert ask(served, name, f"open({str(own)!r}).read()") == "VERSION = '1.0'\n"
    for expression in (
        f"open({str(own)!r}, 'a')",
        f"os.unlink({str(own)!r})",
        f"open({str(own.parent / 'planted.py')!r}, 'w')",
        f"os.rename({str(own.parent)!r}, {str(own.parent)!r} + 'x')",
        f"open({str(others)!r})",
        f"os.listdir({str(own.parents[2])!r})",
        f"os.listdir({str(own.parents[3] / 'locks')!r})",
        f"open({str(own.parents[3] / 'texts' / 'x')!r}, 'w')",
    ):
        assert _denied(served, name, expression), expression


def test_models_do_not_get_the_indexs_password(served: ContainerProcess, write: Write) -> None:
    name = served.loaded(write("m", "greeting==1.0"))

    assert ask(served, name, "[v for v in os.environ if v.startswith('UV_')]") == []
    assert ask(served, name, "'secret' in open('/proc/self/environ').read()") is False
    assert "secret" not in served.log_text()


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        ("no-such-thing", "no-such-thing was not found in the package registry"),
        ("-r ../../../../other/requirements.txt", "code/requirements.txt, line 1: -r is not allowed in an archive"),
        ("/etc/passwd", "paths and URLs are not allowed"),
    ],
    ids=["unknown", "other-file", "path"],
)
def test_a_failure_is_the_loads_reason(served: ContainerProcess, write: Write, requirements: str, words: str) -> None:
    name = write(str(len(requirements)), requirements)

    response = served.load(name)

    assert words in served.wait_for_event("packages cannot be installed", model=name)["message"]
    if served.native:
        assert response.status_code == 400
        failure = response.json()
        assert failure["phase"] == "load"
        assert failure["type"] in ("BadRequirementsError", "ConflictError")
        assert words in failure["message"]
    else:
        assert response.status_code == 500  # the body is MMS's own
    assert name not in served.names()
    (served.folder(name) / "code" / "requirements.txt").write_text("greeting==1.0")
    served.loaded(name)


def test_an_unload_ends_an_installation(served: ContainerProcess, write: Write, index: Index) -> None:
    name, other = write("m", "greeting>=1,<2\nwords"), served.loaded(write("other", "greeting==1.0"))
    index.hold.clear()
    try:
        with ThreadPoolExecutor() as pool:
            load = pool.submit(served.load, name)
            wait_for(lambda: builders(served), "a builder")
            assert ask(served, other, "1 + 1") == 2, "others are served meanwhile"

            served.unload(name)

            assert load.result(timeout=120).status_code >= 400
            wait_for(lambda: not builders(served), "the end of the builder")
    finally:
        index.hold.set()
    served.loaded(name)


def builders(container: ContainerProcess) -> list[psutil.Process]:
    return [process for process in container.processes() if BUILDER in (query(process.cmdline) or [])]


def test_a_builder_that_is_killed_leaves_no_layer(served: ContainerProcess, write: Write, index: Index) -> None:
    name = write("m", "greeting\nwords==1.0")
    index.hold.clear()
    try:
        with ThreadPoolExecutor() as pool:
            load = pool.submit(served.load, name)
            wait_for(lambda: builders(served), "a builder")
            wait_for(lambda: builders(served)[0].children(), "uv")
            uv = builders(served)[0].children()
            builders(served)[0].send_signal(signal.SIGKILL)
            assert load.result(timeout=120).status_code >= 400
            wait_for(lambda: not any(process.is_running() for process in uv), "the end of uv")
    finally:
        index.hold.set()
    served.wait_for_event("the process that installs packages has died", model=name)
    served.loaded(name)
    assert ask(served, name, "__import__('greeting').VERSION") == "2.0"
    building = Path(served.base_dir.parent, "state", "layers", "building")
    assert [path for path in building.iterdir() if (path / "requirements.txt").exists()] == []


def test_a_fork_server_that_is_killed_takes_its_builder_with_it(
    served: ContainerProcess, write: Write, index: Index
) -> None:
    name = write("m", "greeting<2\nwords>=1.0")
    index.hold.clear()
    try:
        with ThreadPoolExecutor() as pool:
            load = pool.submit(served.load, name)
            wait_for(lambda: builders(served), "a builder")
            builder = builders(served)[0]
            served.process_of("polyhost.container.forkserver").kill()
            wait_for(lambda: not builder.is_running(), "the end of the builder")
            index.hold.set()
            if served.native:  # it asks the next fork server; MMS fails the load
                assert load.result(timeout=240).status_code == 200
            else:
                assert load.result(timeout=240).status_code == 500
                wait_for(lambda: served.load(name).status_code == 200, "a load by the next fork server")
    finally:
        index.hold.set()
    assert ask(served, name, "__import__('greeting').VERSION") == "1.0"


def test_layers_outlive_the_fork_server(served: ContainerProcess, write: Write) -> None:
    name = served.loaded(write("m", "greeting==1.0", "import greeting"))
    fork_server = served.process_of("polyhost.container.forkserver")
    fork_server.kill()
    wait_for(lambda: served.load(write("next", None)).status_code == 200, "the next fork server")

    worker = served.workers_of(name)[0]
    worker.kill()

    wait_for(lambda: served.invoke(name, "greeting.VERSION", "text/plain").status_code == 200, "another worker")
    assert ask(served, name, "greeting.VERSION") == "1.0"


def test_lib_needs_no_setting(container: ContainerProcess) -> None:
    folder = container.folder("with-lib") / "code"
    (folder / "lib" / "vendored").mkdir(parents=True)
    (folder / "lib" / "vendored" / "__init__.py").write_text("VERSION = 'vendored'\n")
    (folder / "inference.py").write_text(textwrap.dedent(SCRIPT).replace("{imports}", "import vendored"))
    container.loaded("with-lib")
    assert ask(container, "with-lib", "vendored.VERSION") == "vendored"
    container.unload("with-lib")


def test_a_missing_module_is_explained_where_nothing_is_installed(container: ContainerProcess) -> None:
    folder = container.folder("not-installed") / "code"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("greeting==1.0\n")
    (folder / "inference.py").write_text(textwrap.dedent(SCRIPT).replace("{imports}", "import greeting"))

    response = container.load("not-installed")

    words = "which is not installed: POLYHOST_REQUIREMENTS is off"
    assert response.status_code >= 400
    assert words in container.wait_for_event("load failed", model="not-installed")["message"]
    if container.native:
        assert words in json.loads(response.text)["message"]


def test_users_of_the_strict_mode_read_their_layers(index: Index) -> None:
    with tempfile.TemporaryDirectory(prefix="pt-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)  # models have users of their own
        settings = {
            "POLYHOST_ISOLATION": "strict",
            "POLYHOST_REQUIREMENTS": "isolated",
            "POLYHOST_STATE_DIR": f"{folder}/state",
            "POLYHOST_ZYGOTES": "bare",
            "PIP_INDEX_URL": index.url,
        }
        with running(Path(folder), "native", **settings) as container:
            for name, requirements, module in (("a", "greeting==1.0", "greeting"), ("b", "networkx>=99", "networkx")):
                code = container.folder(name) / "code"
                code.mkdir(parents=True)
                script = textwrap.dedent(SCRIPT).replace("{imports}", f"import {module}")
                (code / "inference.py").write_text(script)
                (code / "requirements.txt").write_text(requirements)
                container.loaded(name)
                assert ask(container, name, f"{module}.VERSION") in ("1.0", "99.0")
                assert _denied(container, name, f"open({module}.__file__, 'a')")
