"""The toolkit's look for MMS in the process table."""

import subprocess
import sys
import threading

import psutil

from polyhost.container.mms.toolkit import _only_java_with


def test_toolkit_sees_only_the_java_of_its_container() -> None:
    """It waits for a Java that is still to be started, and for the end of the command that starts it."""
    ours, other = "/our/mms.properties", "/other/mms.properties"
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)", "com.amazonaws.ml.mms.ModelServer"]
    started: list[subprocess.Popen[bytes]] = []
    with subprocess.Popen([*sleeping, other]) as others:
        later = threading.Timer(0.2, lambda: started.append(subprocess.Popen([*sleeping, ours])))
        later.start()
        try:
            seen = list(_only_java_with(ours, psutil.process_iter)())
            later.join()
            assert [process.pid for process in seen] == [started[0].pid]
        finally:
            for process in (others, *started):
                process.kill()
                process.wait()
