"""Multi Model Server, started by the SageMaker inference toolkit.

Both packages are installed as they are published. At run time, four of their values are replaced, so that several
containers run side by side on one machine:

- sagemaker_inference.model_server.MMS_CONFIG_FILE and DEFAULT_MMS_LOG_FILE, paths below /etc, point to the run folder
  and to our log4j2.xml;
- psutil.process_iter, by which the toolkit looks for MMS in the process table of the machine, finds this container's;
- sys.executable, which MMS has Java start for each model (mms/model_server.py), is the launcher: see
  resources/multi-model-server, which is first on PATH.
"""

import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from polyhost.container.config import Config
from polyhost.container.mms.environment import RESOURCES

_LOG4J = RESOURCES / "log4j2.xml"
_JAVA = "com.amazonaws.ml.mms.ModelServer"
_JAVA_STARTS_S, _POLL_S = 20.0, 0.05


def run_toolkit(config: Config, run_dir: Path) -> None:
    """Start MMS and return when it has ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the toolkit imports pkg_resources, which warns of its removal
        from sagemaker_inference import model_server  # it reads the environment on import
    # The toolkit gives its logger a handler of its own, which would log every event a second time.
    logging.getLogger("sagemaker-inference").handlers.clear()
    configuration = str(run_dir / "mms.properties")
    model_server.MMS_CONFIG_FILE = configuration
    model_server.DEFAULT_MMS_LOG_FILE = str(_LOG4J)
    model_server.psutil.process_iter = _only_java_with(configuration, model_server.psutil.process_iter)
    model_server.start_model_server(handler_service=config.handler)


def _only_java_with(configuration: str, process_iter: Any) -> Any:
    """Return a process_iter that finds the Java with our configuration file in its command line, and no other process.

    The toolkit takes any MMS on the machine for its own and rejects two. The replacement waits a while for ours: the
    toolkit would look again after some seconds only, and would wait for ten minutes if Java came and went in between.
    """

    def own_processes() -> Iterator[Any]:
        deadline = time.monotonic() + _JAVA_STARTS_S
        while not (found := list(_with_words(process_iter(), configuration, _JAVA))) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        # The command that starts Java ends at once. If it ended after the toolkit had set its handler of SIGCHLD, the
        # handler would log an error: it collects exit statuses until no child is left, which it takes for a failure.
        java = list(_with_words(process_iter(), _JAVA))
        commands = [child for child in psutil.Process().children() if child not in java]
        psutil.wait_procs(commands, max(0.0, deadline - time.monotonic()))
        return iter(found)

    return own_processes


def _with_words(processes: Iterator[Any], *words: str) -> Iterator[Any]:
    for process in processes:
        try:
            if all(word in process.cmdline() for word in words):
                yield process
        except psutil.Error:
            continue  # it has ended
