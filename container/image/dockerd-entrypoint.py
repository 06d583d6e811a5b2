"""The image's ENTRYPOINT, with the name that it has in AWS's own containers."""

import sys

from polyhost.container.main import main

sys.exit(main(sys.argv[1:]))
