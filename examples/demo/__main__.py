"""`python -m examples.demo`, which `scripts/demo` runs."""

import signal
import sys

from examples.demo.main import main

if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it too stops the emulator and its containers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
